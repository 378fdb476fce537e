import { type Action, type ActionContext, entryData, utf8Encode } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type AskedApproval,
  PolicyEngine,
  type PathProbe,
  parsePolicy,
  type Proposal,
  proposePolicy,
  resolveOnDisk,
  resolvePath,
} from "../../src/policy/index.ts";

const POLICY = `
policy_id: test
schema_version: 1.0.0
operations: [model.train, model.promote]
allowed_git_operations: [git_commit]
allowlist:
  file_operations: [write_file]
  paths: ["docs/**", "src/*.ts"]
  commands:
    - { id: tests, executable: npm, allowed_args: [test, "--grep=*"] }
deny_paths: ["docs/secret/**"]
hosts: [api.example.org]
approvals:
  - { operations: [model.promote], required: 2, roles: [release_manager, safety_officer] }
`;

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

const engineOf = (text: string, path = "policy.yaml"): PolicyEngine =>
  new PolicyEngine(parsePolicy(utf8Encode(text), path));
const action = (type: string, resource: string, params: Action["params"] = {}): Action => ({
  type,
  resource,
  params,
});
const engine = engineOf(POLICY);
const learnFrom = (
  by: PolicyEngine,
  denied: readonly Action[],
  asked: readonly AskedApproval[] = [],
): Proposal => {
  const refused = denied.map((one) => ({ action: one, decision: by.decide(one, context) }));
  return proposePolicy("learned", refused, asked);
};
const effectOf = (one: Action): string => engine.decide(one, context).effect;
const write = (path: string): Action => action("file.write", path);

describe("a sandbox policy", () => {
  it("allows what it names, with the rule that did", () => {
    expect(engine.decide(action("model.train", "m"), context)).toMatchObject({
      effect: "allow",
      rules: ["operation:model.train"],
      policy_digest: engine.policyDigest,
    });
    expect(effectOf(write("docs/a/b.md"))).toBe("allow");
    expect(effectOf(action("git.commit", "repository"))).toBe("allow");
    expect(effectOf(action("http.call", "api.example.org"))).toBe("allow");
  });

  it("denies by default, and says that no rule allows it", () => {
    const decision = engine.decide(action("model.delete", "m"), context);
    expect(decision).toMatchObject({ effect: "deny", rules: [] });
    expect(decision.reasons[0]).toContain("no rule allows model.delete");
    expect(effectOf(action("git.add", "repository"))).toBe("deny");
    expect(effectOf(action("http.call", "evil.example.org"))).toBe("deny");
  });

  it("lets forbid win", () => {
    expect(engine.decide(write("docs/secret/key"), context)).toMatchObject({
      effect: "deny",
      rules: ["deny:docs/secret/**"],
    });
  });

  it("asks for approvals where it says so", () => {
    expect(engine.decide(action("model.promote", "m"), context)).toMatchObject({
      effect: "step_up",
      approvals: { required: 2, roles: ["release_manager", "safety_officer"] },
    });
  });

  it.each([
    ["the executable alone", "npm", [], "allow"],
    ["allowed arguments", "npm", ["test", "--grep=fast"], "allow"],
    ["one other argument", "npm", ["test", "--unsafe"], "deny"],
    ["an argument that is no text", "npm", [1], "deny"],
    ["another executable of that name", "/tmp/npm", ["test"], "deny"],
  ])("judges a whole command: %s", (_, executable, argv, effect) => {
    expect(effectOf(action("command.run", executable, { argv }))).toBe(effect);
  });

  it.each([
    "docs/../../etc/passwd",
    "../outside",
    "/etc/passwd",
    "docs//a",
    "docs/./a",
    "docs\\..\\a",
    "docs/a\0b",
    "C:/docs/a",
    "docs/.git/hooks/x",
    "docs/.GIT/x",
    "docs/GIT~1/x",
    "docs/.g\u200bit/x",
    "docs/.git /x",
    "docs/a./x",
    "docs/e\u0301",
    "",
  ])("refuses the path trick %j in every mode", (path) => {
    expect(effectOf(write(path))).toBe("deny");
    const observing = engineOf(`${POLICY}\nmode: observe`);
    expect(observing.decide(write(path || " "), context).effect).toBe("deny");
  });

  it("does not take a name for the folder that it begins with", () => {
    expect(effectOf(write("docsX/a"))).toBe("deny");
    expect(effectOf(write("src/deep/a.ts"))).toBe("deny");
    expect(effectOf(write("src/a.ts"))).toBe("allow");
  });

  it("observes: says what it would have denied, and proposes what would allow it", () => {
    const observing = engineOf(`${POLICY}\nmode: observe`);
    const denied = [
      write("build/out.js"),
      action("command.run", "make", { argv: ["all"] }),
      action("model.delete", "m"),
    ];
    for (const one of denied) {
      expect(observing.decide(one, context)).toMatchObject({ effect: "allow", observed: true });
    }
    const learned = engineOf(JSON.stringify(learnFrom(observing, denied).policy), "learned.json");
    for (const one of denied) expect(learned.decide(one, context).effect).toBe("allow");
    expect(learned.decide(write("build/other.js"), context).effect).toBe("deny");
    expect(learned.decide(action("model.delete", "other"), context).effect).toBe("deny");
  });

  it("proposes no command line that nobody asked for, and keeps the approvals", () => {
    const denied = [
      action("command.run", "make", { argv: ["all"] }),
      action("command.run", "make", { argv: ["clean", "-j4"] }),
      action("model.promote", "m"),
    ];
    const none = engineOf("policy_id: none\nschema_version: 1.0.0");
    const approvals = { required: 2, roles: ["release_manager", "safety_officer"] };
    const { policy, leftOut } = learnFrom(none, denied, [
      { type: "model.promote", approvals },
      { type: "model.promote", approvals },
      { type: "model.other", approvals },
    ]);
    expect(leftOut).toEqual([]);
    const learned = engineOf(JSON.stringify(policy), "learned.json");
    expect(learned.decide(action("command.run", "make", { argv: ["all"] }), context).effect).toBe(
      "allow",
    );
    const mixed = action("command.run", "make", { argv: ["all", "-j4"] });
    expect(learned.decide(mixed, context).effect).toBe("deny");
    expect(learned.decide(action("model.promote", "m"), context)).toMatchObject({
      effect: "step_up",
      approvals,
    });
    expect(learned.decide(action("model.promote", "other"), context).effect).toBe("deny");
  });

  it("proposes nothing that an attacker would want opened, and says so", () => {
    const denied = [
      write(".github/workflows/ci.yml"),
      write("docs/secret/key"),
      write("a/*/b"),
      action("command.run", "sh", { argv: ["-c", "rm ?"] }),
      action("command.run", "sh", { argv: ["x".repeat(301)] }),
      action("http.call", "*"),
      write("p/".repeat(180) + "x"),
    ];
    const { policy, leftOut } = learnFrom(engine, denied);
    expect(leftOut).toHaveLength(denied.length);
    const learned = engineOf(JSON.stringify(policy), "learned.json");
    for (const one of [...denied, write("a/x/b"), action("http.call", "evil.com")]) {
      expect(learned.decide(one, context).effect).toBe("deny");
    }
  });

  it("lets nobody change what hosts run without leave, which the decision names", () => {
    const leave = POLICY.replace(
      'paths: ["docs/**"',
      'ci_paths: [".github/workflows/**"]\n  paths: [".github/**", "docs/**"',
    );
    const ci = write(".github/workflows/ci.yml");
    const all = engineOf(POLICY.replace('paths: ["docs/**"', 'paths: [".github/**", "docs/**"'));
    const asked = all.decide(ci, context);
    expect(asked).toMatchObject({ effect: "deny", rules: ["ci_files"] });
    expect(asked.reasons[0]).toContain("allowlist.ci_paths");
    expect(engineOf(leave).decide(ci, context)).toMatchObject({
      effect: "allow",
      rules: ["ci:.github/workflows/**", "file.write:.github/**"],
    });
    const commit = (...ci_files: string[]): Action => action("git.commit", "step_01", { ci_files });
    expect(engineOf(leave).decide(commit(ci.resource), context)).toMatchObject({ effect: "allow" });
    for (const other of ["Jenkinsfile", "../x"]) {
      const decided = engineOf(leave).decide(commit(ci.resource, other), context);
      expect(decided.effect).toBe("deny");
    }
    const renamed = leave.replace("ci_paths", "host_run_paths");
    expect(engineOf(renamed).decide(ci, context).effect).toBe("allow");
    expect(engineOf(renamed).policyDigest).toBe(engineOf(leave).policyDigest);
    const malformed = action("git.commit", "step_01", { ci_files: { length: 0 } });
    expect(engineOf(leave).decide(malformed, context).effect).toBe("deny");
  });

  it("has one digest for one meaning, and another for any change", () => {
    expect(engineOf(POLICY).policyDigest).toBe(engine.policyDigest);
    const other = engineOf(POLICY.replace("required: 2", "required: 1"));
    expect(other.policyDigest).not.toBe(engine.policyDigest);
  });

  it("decides by the longest pattern in words that the ledger takes", () => {
    const folder = "a/".repeat(149);
    const policy = {
      policy_id: "long",
      schema_version: "1.0.0",
      allowlist: { file_operations: ["update_file"], paths: [`${folder}**`] },
      hosts: ["h".repeat(253)],
    };
    const long = engineOf(JSON.stringify(policy), "long.json");
    for (const one of [action("file.update", `${folder}x`), action("http.call", "h".repeat(253))]) {
      const decision = long.decide(one, context);
      expect(decision.effect).toBe("allow");
      const { decision: format } = entryData["execution.authorized"].shape;
      expect(format.safeParse(decision).success).toBe(true);
    }
    const cedar = `@id("${"i".repeat(401)}") permit(principal, action, resource);`;
    expect(() => engineOf(cedar, "long.cedar")).toThrow(/ERR_POLICY_INVALID|401 characters/);
  });

  it("explains with the text of the rules", () => {
    const { rules, matched } = engine.explain(write("docs/a"), context);
    expect(matched).toEqual(["path:docs/**"]);
    expect(Object.values(rules)[0]).toContain('context.type == "file.write"');
  });

  it("keeps hostile text text: no name becomes a rule", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 60 }), (text) => {
        fc.pre(text.isWellFormed());
        const policy = {
          policy_id: "p",
          schema_version: "1.0.0",
          allowlist: { file_operations: ["write_file"], paths: [text] },
        };
        const hostile = engineOf(JSON.stringify(policy), "p.json");
        expect(hostile.decide(action("model.promote", "m"), context).effect).toBe("deny");
      }),
      { numRuns: 60 },
    );
  });
});

describe("a Cedar policy", () => {
  const CEDAR = `
    @id("train") permit (principal == Role::"trainer", action, resource)
      when { context.type == "model.train" };
    @id("promote") @step_up("2 of a,b,c") permit (principal, action, resource)
      when { context.type == "model.promote" };
    @id("never") forbid (principal, action, resource) when { resource.name like "prod*" };
  `;
  const cedar = engineOf(CEDAR, "policy.cedar");

  it("decides by role, type and resource, and steps up by annotation", () => {
    expect(cedar.decide(action("model.train", "m"), context).rules).toEqual(["train"]);
    const other = { ...context, role: "deployer" };
    expect(cedar.decide(action("model.train", "m"), other).effect).toBe("deny");
    expect(cedar.decide(action("model.train", "prod-1"), context).rules).toEqual(["never"]);
    expect(cedar.decide(action("model.promote", "m"), context)).toMatchObject({
      effect: "step_up",
      approvals: { required: 2, roles: ["a", "b", "c"] },
    });
  });
});

describe("reading a policy", () => {
  it.each([
    ["p.yaml", "policy_id: [", "ERR_POLICY_SYNTAX"],
    ["p.yaml", "a: &x 1\nb: *x", "ERR_POLICY_SYNTAX"],
    ["p.json", '{"policy_id":"a","policy_id":"b"}', "ERR_POLICY_SYNTAX"],
    ["p.yaml", "policy_id: p\nschema_version: 1.0.0\nsurprise: 1", "ERR_POLICY_INVALID"],
    [
      "p.yaml",
      "policy_id: p\nschema_version: 1.0.0\noperations: [file.write]",
      "ERR_POLICY_INVALID",
    ],
    ["p.yaml", POLICY.replace("required: 2", "required: 3"), "ERR_POLICY_INVALID"],
    ["p.cedar", "permit (principal, action", "ERR_POLICY_INVALID"],
    [
      "p.cedar",
      "permit (principal, action, resource) when { context.nothing == 1 };",
      "ERR_POLICY_INVALID",
    ],
    ["p.cedar", '@step_up("many") permit (principal, action, resource);', "ERR_POLICY_INVALID"],
    ["p.yaml", "x".repeat(2 * 1024 * 1024), "ERR_POLICY_TOO_LARGE"],
  ])("refuses a bad %s (%#)", (path, text, code) => {
    expect(() => parsePolicy(utf8Encode(text), path)).toThrow(expect.objectContaining({ code }));
  });

  it("tells the line of a YAML error", () => {
    expect(() => parsePolicy(utf8Encode("a: 1\nb: [\n"), "p.yaml")).toThrow(/^p\.yaml:\d+:\d+: /);
  });
});

describe("paths on disk", () => {
  const probe = (found: Record<string, ReturnType<PathProbe["lstat"]>>): PathProbe => ({
    lstat: (path) => found[path] ?? null,
  });
  const folder = { kind: "folder", links: 2 } as const;
  const file = { kind: "file", links: 1 } as const;

  it("takes a plain file below plain folders, and what is not there yet", () => {
    const disk = probe({ "/w/docs": folder, "/w/docs/a": file });
    expect(resolveOnDisk("/w", "docs/a", disk)).toBe("docs/a");
    expect(resolveOnDisk("/w", "docs/new/file", disk)).toBe("docs/new/file");
  });

  it.each([
    ["a link on the way", { "/w/docs": { kind: "link", links: 1 } }],
    ["a link at the end", { "/w/docs": folder, "/w/docs/a": { kind: "link", links: 1 } }],
    ["a hard link", { "/w/docs": folder, "/w/docs/a": { kind: "file", links: 2 } }],
    ["a device", { "/w/docs": folder, "/w/docs/a": { kind: "other", links: 1 } }],
    ["a file as a folder", { "/w/docs": file }],
  ] as const)("refuses %s", (_, found) => {
    expect(() => resolveOnDisk("/w", "docs/a", probe(found))).toThrow(
      expect.objectContaining({ code: "ERR_PATH_REFUSED" }),
    );
  });

  it("gives back every path that it takes unchanged", () => {
    fc.assert(
      fc.property(fc.string(), (path) => {
        try {
          expect(resolvePath(path)).toBe(path);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_PATH_REFUSED" });
        }
      }),
    );
  });
});
