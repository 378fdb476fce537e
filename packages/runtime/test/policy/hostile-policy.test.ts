import { type Action, type ActionContext, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { refuseTooMuchWork } from "../../src/policy/match-work.ts";

const context: ActionContext = {
  tenant_id: "acme",
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step",
  attempt: 1,
  role: "trainer",
  mode: "sovereign",
  config_digest: "0".repeat(64),
  policy_digest: "0".repeat(64),
};
const promote: Action = { type: "model.promote", resource: "m", params: {} };
const engineOf = (text: string, path = "policy.yaml"): PolicyEngine =>
  new PolicyEngine(parsePolicy(utf8Encode(text), path));
const refusal = (text: string, path = "policy.yaml"): unknown => {
  try {
    engineOf(text, path);
  } catch (error) {
    return error;
  }
  throw new Error("the policy was accepted");
};

describe("a Cedar policy that is made to break its reader", () => {
  const permit = (body: string): string => `permit(principal, action, resource) when { ${body} };`;
  const chain = (word: string, by: string, n: number): string => Array(n).fill(word).join(by);
  const breakers: [string, string][] = [
    ["parentheses", permit(`${"(".repeat(400)}true${")".repeat(400)}`)],
    ["nested sets", permit(`${"[".repeat(300)}${"]".repeat(300)} == []`)],
    ["nested records", permit(`${"{a:".repeat(300)}1${"}".repeat(300)} == 1`)],
    ["a chain of and", permit(chain("true", " && ", 5000))],
    ["a short chain that is too deep", permit(chain("true", " && ", 120))],
    ["a chain of attributes", permit(`context${".a".repeat(900)} == 1`)],
    ["nested ifs", permit(`${"if true then ".repeat(400)}true${" else false".repeat(400)}`)],
    ["too many policies", permit("true").repeat(1001)],
    ["a string that hides its depth", permit(`"\\"" == "${"(".repeat(60)}" && ${"(".repeat(60)}`)],
  ];
  it.each(breakers)("is refused, and harms no other policy: %s", (_name, text) => {
    const other = engineOf("policy_id: p\nschema_version: 1.0.0\noperations: [model.promote]");
    expect(refusal(text, "evil.cedar")).toMatchObject({ code: "ERR_POLICY_INVALID" });
    // Asked for the first time: nothing of the answer was kept from before.
    expect(other.decide(promote, context).effect).toBe("allow");
    expect(other.decide({ ...promote, type: "model.delete" }, context).effect).toBe("deny");
    expect(engineOf(permit("true"), "good.cedar").decide(promote, context).effect).toBe("allow");
  });

  it("is refused for an annotation that nobody reads", () => {
    for (const name of ["stepup", "Step_up", "step-up".replace("-", ""), "approvals"]) {
      const text = `@${name}("2 of a,b") permit(principal, action, resource);`;
      expect(refusal(text, "x.cedar")).toMatchObject({ code: "ERR_POLICY_INVALID" });
    }
    const forbid = '@step_up("1 of a") forbid(principal, action, resource);';
    expect(refusal(forbid, "x.cedar")).toMatchObject({ code: "ERR_POLICY_INVALID" });
  });

  it("blames no permit for what could not be evaluated", () => {
    const text = `@id("fine") permit(principal, action, resource);
      @id("bad") permit(principal, action, resource) when { 3000000000 * 3000000000 * 3000000000 > 0 };`;
    const decision = engineOf(text, "x.cedar").decide(promote, context);
    expect(decision).toMatchObject({ effect: "deny", rules: [] });
    expect(decision.reasons.join(" ")).toContain("bad");
  });
});

describe("approvals that differ for one operation", () => {
  const policy = (...entries: string[]): string =>
    ["policy_id: p", "schema_version: 1.0.0", "operations: [model.promote]", "approvals:"]
      .concat(entries.map((entry) => `  - ${entry}`))
      .join("\n");
  const three = "{ operations: [model.promote], required: 3, roles: [a, b, c] }";
  const one = "{ operations: [model.promote], required: 1, roles: [d] }";

  it("ask for the most people, in whatever order they stand", () => {
    for (const text of [policy(three, one), policy(one, three)]) {
      expect(engineOf(text).decide(promote, context).approvals).toEqual({
        required: 3,
        roles: ["a", "b", "c"],
      });
    }
  });

  it("ask for those whom each entry names, where they ask for as many", () => {
    const left = "{ operations: [model.promote], required: 1, roles: [a, b] }";
    const right = "{ operations: [model.promote], required: 1, roles: [b, c] }";
    expect(engineOf(policy(left, right)).decide(promote, context).approvals?.roles).toEqual(["b"]);
    const other = "{ operations: [model.promote], required: 1, roles: [d] }";
    expect(refusal(policy(left, other))).toMatchObject({ code: "ERR_POLICY_INVALID" });
  });

  it("are an error where they ask for more people than their names are", () => {
    for (const roles of ["[alice, a1ice]", "[alice, alice]", "[alice.b, alice-b]"]) {
      const entry = `{ operations: [model.promote], required: 2, roles: ${roles} }`;
      const error = refusal(policy(entry));
      expect(error).toMatchObject({ code: "ERR_POLICY_INVALID" });
      expect((error as Error).message).toContain("read as one another");
    }
    const left = "{ operations: [model.promote], required: 2, roles: [alice, a1ice, bob] }";
    const right = "{ operations: [model.promote], required: 2, roles: [alice, a1ice, carol] }";
    expect(refusal(policy(left, right))).toMatchObject({ code: "ERR_POLICY_INVALID" });
  });

  it("are an error for an operation that the policy allows nowhere", () => {
    const misspelt = "{ operations: [model.promot], required: 1, roles: [a] }";
    const error = refusal(policy(misspelt));
    expect(error).toMatchObject({ code: "ERR_POLICY_INVALID" });
    expect((error as Error).message).toContain("model.promote");
  });

  it("deny where two Cedar rules ask for what cannot be met together", () => {
    const text = `@id("x") @step_up("1 of a") permit(principal, action, resource);
      @id("y") @step_up("1 of b") permit(principal, action, resource);`;
    expect(engineOf(text, "x.cedar").decide(promote, context).effect).toBe("deny");
  });
});

describe("a misspelt field", () => {
  it("is told with the one that it was meant to be, before what is missing for it", () => {
    const error = refusal("policy_idd: p\nschema_version: 1.0.0\n");
    expect(error).toMatchObject({ code: "ERR_POLICY_INVALID" });
    expect((error as Error).message).toMatch(/1:1: .*policy_idd.*Did you mean policy_id\?$/);
  });
});

describe("YAML", () => {
  const good = "policy_id: p\nschema_version: 1.0.0\n";
  it.each([
    ["a directive", `%YAML 1.1\n---\n${good}`],
    ["a tag", `${good}description: !!binary aGk=\n`],
    ["an anchor", `${good}operations: &x [a.b]\n`],
    ["a merge key", `${good}<<: {mode: observe}\n`],
    ["a key twice", `${good}mode: enforce\nmode: observe\n`],
    ["two documents", `${good}---\n${good}`],
  ])("is refused with %s, at its place", (_name, text) => {
    const error = refusal(text);
    expect(error).toMatchObject({ code: "ERR_POLICY_SYNTAX" });
    expect((error as Error).message).toMatch(/^policy\.yaml:\d+:\d+: /);
  });
});

describe("what would take long to match", () => {
  it("is a denial in every mode, at once", () => {
    const commands = {
      policy_id: "p",
      schema_version: "1.0.0",
      mode: "observe",
      allowlist: {
        commands: [
          {
            id: "x",
            executable: "tool",
            allowed_args: Array.from({ length: 100 }, (_, at) => `${"*a".repeat(140)}${at}`),
          },
        ],
      },
    };
    const engine = engineOf(JSON.stringify(commands), "p.json");
    const run = (...argv: string[]): Action => ({
      type: "command.run",
      resource: "tool",
      params: { argv },
    });
    for (const one of [run("a".repeat(20_000)), run(...Array<string>(20).fill("a".repeat(900)))]) {
      const decision = engine.decide(one, context);
      expect(decision).toMatchObject({ effect: "deny", observed: false });
      expect(() => {
        refuseTooMuchWork(engine.policy.patterns, { action: one, paths: [], ciFiles: [] });
      }).toThrow(expect.objectContaining({ code: "ERR_MATCH_LIMIT" }));
    }
    const patterns = Array.from({ length: 380 }, () => "**");
    const names = Array.from({ length: 380 }, (_, at) => `c${at}`);
    const wide = {
      ...commands,
      allowlist: {
        commands: names.map((id) => ({ id, executable: "tool", allowed_args: patterns })),
      },
    };
    expect(
      engineOf(JSON.stringify(wide), "p.json").decide(
        run(...Array<string>(50).fill("aa")),
        context,
      ),
    ).toMatchObject({ effect: "deny", observed: false });
  });

  const files = (allowlist: object, denied: readonly string[] = []): PolicyEngine =>
    engineOf(
      JSON.stringify({
        policy_id: "p",
        schema_version: "1.0.0",
        mode: "observe",
        allowed_git_operations: ["git_commit"],
        allowlist: { file_operations: ["write_file"], paths: ["**"], ...allowlist },
        deny_paths: denied,
      }),
      "p.json",
    );
  const many = (name: (at: number) => string): string[] =>
    Array.from({ length: 400 }, (_, at) => name(at + 1000));
  it("counts a denied pattern as often as it is matched: as written, below it, and folded", () => {
    const write = { type: "file.write", resource: `${"Ab/".repeat(300)}c`, params: {} };
    const decide = (denied: string[]): unknown => files({}, denied).decide(write, context);
    // Once for each would be 4.3 million; it is done four times.
    expect(decide(many((at) => `**/Name${at}`))).toMatchObject({
      effect: "deny",
      observed: false,
      reasons: [expect.stringContaining("more patterns and text") as string],
    });
    expect(decide(many((at) => `**/Name${at}`).slice(0, 90))).toMatchObject({ effect: "allow" });
  });

  it("counts each file that a commit names, for each pattern that could give leave", () => {
    const engine = files({ host_run_paths: many((at) => `**/*${at}*/**`) });
    const commit = (count: number): unknown =>
      engine.decide(
        {
          type: "git.commit",
          resource: "step_01",
          params: {
            ci_files: Array.from(
              { length: count },
              (_, at) => `.github/1399/${"x".repeat(50)}${at}`,
            ),
          },
        },
        context,
      );
    expect(commit(300)).toMatchObject({ effect: "deny", observed: false });
    expect(commit(3)).toMatchObject({ effect: "allow" });
  });
});
