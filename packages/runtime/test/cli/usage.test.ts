import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runCli } from "../../src/cli/index.ts";
import type { ExecInput, Services } from "../../src/services/index.ts";
import { policyServices } from "../../src/services/policy-services.ts";

/** No command of these lines may come as far as to use a service. */
const services = {
  version: "0",
  refuseWhileTripped: () => undefined,
} as unknown as Services;

async function type(...words: string[]): Promise<{ exit: number; out: string; err: string }> {
  const said = { out: "", err: "" };
  const catching = (where: "out" | "err") => (text: string | Uint8Array) => {
    said[where] += text.toString();
    return true;
  };
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(catching("out")),
    vi.spyOn(process.stderr, "write").mockImplementation(catching("err")),
  ];
  try {
    const exit = await runCli(words, services, AbortSignal.abort());
    return { exit, ...said };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe("a command line", () => {
  it.each([
    ["--policy <file>", "exec run --policy a --policy b --request c"],
    ["--policy <file>", "exec plan --policy=a --request c --policy=a"],
    ["--tenant <name>", "--tenant a --tenant b runs list"],
    ["--tenant <name>", "--tenant a runs list --tenant b"],
    ["--out <file>", "bundle export run_aaaaaaaaaaaaaaaaaaaa --out a.zip --out b.zip"],
    ["--reason <text>", "keys revoke k --reason a --reason b"],
    ["--root", "keys add --root --root"],
    ["--scope <scope>", "scram activate --scope all --scope all"],
    ["--url <url>", "scram activate --url http://a --url http://b"],
    ["--level <level>", "verify --level sovereign --level compatible x"],
  ])("that gives %s twice is refused: %s", async (flags, line) => {
    const { exit, out, err } = await type(...line.split(" "));
    expect({ exit, out }).toEqual({ exit: 2, out: "" });
    expect(err).toContain(flags.split(" ")[0]);
    expect(err).toContain("twice");
  });

  it.each([
    ["unknown command 'foo'", "foo"],
    ["unknown option '--foo'", "runs list --foo"],
    ["missing required argument 'run'", "runs show"],
    ["--goal needs --tenant-id TENANT and --agent-id AGENT", "run --goal x"],
  ])("that is wrong is told as other errors are: %s", async (told, line) => {
    const { exit, out, err } = await type(...line.split(" "));
    expect({ exit, out }).toEqual({ exit: 2, out: "" });
    expect(err.split("\n")[0]).toBe(`sovereign: ${told}`);
    expect(err).toContain("(ERR_USAGE; add --help for what is expected)");
  });

  it("names its tenant in the commands that its answer tells", async () => {
    const next = `sovereign run resume ${RUN}`;
    const consent = { stepId: "s", required: 1, given: ["qa"], next };
    Object.assign(services, { approve: () => Promise.resolve(consent) });
    const line = `run approve ${RUN} --approver qa`;
    expect((await type(...line.split(" "))).out).toContain(`Next: ${next}\n`);
    const told = `${next} --tenant acme`;
    expect((await type("--tenant", "acme", ...line.split(" "))).out).toContain(`Next: ${told}\n`);
    const { out } = await type("--tenant", "acme", "--json", ...line.split(" "));
    expect(JSON.parse(out)).toMatchObject({ next: told });
  });

  it("names its tenant in the commands that its error tells", async () => {
    const failing = (): never => {
      throw new SovereignError("ERR_RUN_NOT_FOUND", `Type: sovereign runs show ${RUN}, or wait.`);
    };
    Object.assign(services, { approve: failing });
    const line = `--tenant acme run approve ${RUN} --approver qa`;
    const { exit, err } = await type(...line.split(" "));
    expect(exit).toBe(2);
    expect(err).toContain(`Type: sovereign runs show ${RUN} --tenant acme, or wait.`);
  });

  it("may repeat what is a list by design, and --json", async () => {
    const given: unknown[] = [];
    const initKeys = (slots: unknown): Promise<never[]> => {
      given.push(slots);
      return Promise.resolve([]);
    };
    Object.assign(services, { initKeys });
    const line = "--json keys init --role a --role b --operator c --operator d --json";
    expect(await type(...line.split(" "))).toEqual({ exit: 0, out: "", err: "" });
    expect(given[0]).toHaveLength(4);
  });

  it.each([
    ["--json exec", /expected a command/],
    ["--json bogus", /unknown command 'bogus'/],
    ["exec run --json", /--request FILE or a command after --, found neither/],
    ["--json runs list --limit 0", /whole number from 1 to 1000/],
    ["--json runs list --status over", /running, pending, completed, failed/],
    ["--json runs list --kind other", /pipeline, exec_request/],
    ["--json keys add", /^expected --role/],
    ["--json runs show run_x", /./],
    ["--json agent run", /an agent and its task/],
    ["--json agent run claude", /an agent and its task/],
    ["--json agent run claude x --task-pack f", /--task-pack alone/],
    ["--json agent run --task-pack f --budget 1", /--task-pack alone/],
    ["--json agent run --task-pack f --scope src", /--task-pack alone/],
    ["--json tool pack claude", /the task or --file/],
    ["--json tool pack claude x --file f", /the task or --file/],
    ["--json tool dispatch f --apply --branch b", /--apply or --branch/],
    ["--json tool verify f", /--task <file>/],
    ["--json tool collect run_x", /./],
  ])("is answered by one document with %s", async (line, message) => {
    const { exit, out, err } = await type(...line.split(" "));
    expect({ exit, err }).toEqual({ exit: 2, err: "" });
    expect(JSON.parse(out)).toMatchObject({
      error: { code: "ERR_USAGE", exit: 2, message: expect.stringMatching(message) as string },
    });
  });

  it.each([
    ["verify a b", /one file, found also b/],
    ["verify --sources s a", /--sources is no option for a file of the kind bundle/],
    ["verify-audit a --repo r", /--repo is no option for a file of the kind audit/],
  ])("of the verifier says what it does not look at: %s", async (line, message) => {
    const { exit, out, err } = await type(...line.split(" "));
    expect({ exit, out }).toEqual({ exit: 2, out: "" });
    expect(err).toMatch(message);
  });
});

const RUN = `run_${"a".repeat(20)}`;

describe("a run that waits", () => {
  const waits = (code: string) => ({
    runId: RUN,
    status: "pending",
    reason: "it waits",
    code,
    bundle: null,
    trustRoot: null,
    verdict: null,
    observed: [],
  });

  it.each([
    ["ERR_APPROVAL_REQUIRED", `sovereign run approve ${RUN} --approver ROLE`],
    ["ERR_REQUEST_BLOCKED", `sovereign answers create ${RUN}`],
    ["ERR_EFFECT_KILLED", `sovereign exec resume ${RUN}`],
  ])("with %s names the command that it waits for", async (code, next) => {
    Object.assign(services, { resumeRequest: () => Promise.resolve(waits(code)) });
    const { out } = await type("exec", "resume", RUN);
    expect(out).toContain(`next: ${next}\n`);
  });

  it.each(["--approver", "--approve", "--as"])("takes consent by the word %s", async (word) => {
    const given: unknown[] = [];
    const approve = (...words: unknown[]) => {
      given.push(words);
      return Promise.resolve({ stepId: "s", required: 2, given: ["a"], next: "sovereign next" });
    };
    const resume = (_run: string, { approvers }: { approvers: string[] }) => {
      given.push(approvers);
      return Promise.resolve(waits("ERR_APPROVAL_REQUIRED"));
    };
    Object.assign(services, { approve, resume });
    const { exit, out } = await type("run", "approve", RUN, word, "a");
    expect({ exit, out }).toEqual({
      exit: 0,
      out: expect.stringMatching(/1 of 2 needed/) as string,
    });
    expect(out).toContain("sovereign next");
    await type("run", "resume", RUN, word, "a", "--approver", "b");
    expect(given[0]).toEqual(["default", RUN, "a"]);
    expect(new Set(given[1] as string[])).toEqual(new Set(["a", "b"]));
  });

  it("takes the consent of one person at a time", async () => {
    for (const words of [[], ["--as", "a", "--approver", "b"]]) {
      const { exit, err } = await type("run", "approve", RUN, ...words);
      expect({ exit, err }).toEqual({ exit: 2, err: expect.stringMatching(/once/) as string });
    }
  });

  it("of a dead process is not told as one that goes on", async () => {
    const found = { status: "running", reason: null, repository: "/r", place: "at base" };
    const rest = { head: "a".repeat(40), recovery: "none", rollback: null, kept: [] };
    Object.assign(services, { requestStatus: () => Promise.resolve({ ...found, ...rest }) });
    const { out } = await type("exec", "status", RUN);
    expect(out).toContain("running, but no process works on it");
    expect(out).toContain(`next: sovereign exec resume ${RUN}\n`);
  });

  it("whose move was undone under a commit of the user's says what differs now", async () => {
    const found = { status: "suspended", reason: null, repository: "/r", place: "elsewhere" };
    const rest = { head: "a".repeat(40), recovery: "undone", rollback: null, kept: [] };
    Object.assign(services, { requestStatus: () => Promise.resolve({ ...found, ...rest }) });
    const { out } = await type("exec", "status", RUN);
    expect(out).toContain("recovery: undone. The files of the move are in the work tree as before");
    expect(out).toContain("aaaaaaaaaaaa, which was committed since, stays as it is");
  });
});

describe("the policy of a repository", () => {
  const POLICY =
    'policy_id: p\nschema_version: "1"\nallowlist: { file_operations: [write_file], paths: [src/**] }\n';
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sov-usage-"));
    writeFileSync(join(folder, "p.yaml"), POLICY);
    const opened = () => Promise.reject(new Error("no data folder is needed"));
    Object.assign(services, policyServices(folder, opened));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it.each([
    ["allow", 0, /^1 case, all as expected\n$/],
    ["deny", 1, /t\.yaml:2:5: file\.write on "src\/a": expected deny, found allow by file/],
  ])("that should %s what it allows answers with exit code %i", async (wanted, code, said) => {
    const table = join(folder, "t.yaml");
    writeFileSync(table, `cases:\n  - { action: file.write, on: src/a, expect: ${wanted} }\n`);
    const line = ["policy", "test", table, "--policy", join(folder, "p.yaml")];
    const { exit, out, err } = await type(...line);
    expect({ exit, err }).toEqual({ exit: code, err: "" });
    expect(out).toMatch(said);
    const json = await type(...line, "--json");
    expect(json.exit).toBe(code);
    expect(JSON.parse(json.out)).toMatchObject({ failed: code, cases: [{ passed: code === 0 }] });
  });

  it("that denied nothing of a run has no rule to learn, and says so", async () => {
    const learnPolicy = () => Promise.resolve({ policy: {}, leftOut: [], denials: 0 });
    Object.assign(services, { learnPolicy });
    const { exit, out, err } = await type("policy", "learn", RUN);
    expect({ exit, out }).toEqual({ exit: 0, out: "" });
    expect(err).toContain("nothing was denied");
  });
});

describe("a rollback", () => {
  it("says what it proved, and where another program's text is", async () => {
    const rollbackRequest = (run: string, { onProgress }: ExecInput) => {
      const about = { run, base: "b".repeat(40), tree: "c".repeat(40), files: 1 };
      onProgress({ event: "rollback.proved", ...about, kept: ["/kept/x"] });
      const ended = { runId: RUN, status: "completed", reason: null, code: null, verdict: "VALID" };
      return Promise.resolve({ ...ended, bundle: null, trustRoot: null, observed: [] });
    };
    Object.assign(services, { rollbackRequest });
    const { exit, err } = await type("exec", "rollback", RUN);
    expect(exit).toBe(0);
    expect(err).toMatch(/is undone: 1 file .*\n.*branch is at b{12}, .* tree c{12}.*\n.*\/kept\/x/);
  });
});

describe("status", () => {
  const found = { home: "/h", database: "d", installation: "i", scram: "COMPLETE" };
  it.each([
    ["HEALTHY", null, 0],
    ["HALTED", "security_breach", 5],
    ["UNAVAILABLE", "unknown", 1],
  ])("of what is %s exits as health does: %s", async (runner_status, reason, code) => {
    const status = () => Promise.resolve(found);
    const health = () => Promise.resolve({ runner_status, reason });
    Object.assign(services, { status, health, unboundedMemory: () => null });
    const { exit, out } = await type("status");
    expect(exit).toBe(code);
    expect(out).toContain(reason === null ? "COMPLETE\n" : `COMPLETE: ${reason}`);
    expect(out).not.toContain("memory");
  });

  it.each(["status", "health"])("and %s says where nothing bounds memory", async (command) => {
    const memory = "no memory controller that we may write";
    Object.assign(services, {
      status: () => Promise.resolve(found),
      health: () =>
        Promise.resolve({
          runner_status: "HEALTHY",
          scram_state: "ARMED",
          reason: null,
          lease: null,
        }),
      dataWarnings: () => Promise.resolve([]),
      unboundedMemory: () => memory,
    });
    const { exit, out } = await type(command);
    expect(exit).toBe(0);
    expect(
      out.split("\n").filter((line) => /^memory: +no memory controller/.test(line)),
    ).toHaveLength(1);
    const { out: json } = await type("--json", command);
    expect(JSON.parse(json)).toMatchObject({ unbounded_memory: memory });
  });
});

describe("a run under a policy that observes", () => {
  it("says what would be denied, and how to allow it", async () => {
    const denial = { type: "command.run", resource: "npm\u001b[2J", why: "no rule allows it" };
    const report = { runId: RUN, status: "completed", reason: null, code: null, verdict: "VALID" };
    const observed = [denial, denial, denial, denial];
    const runRequest = () =>
      Promise.resolve({ ...report, bundle: null, trustRoot: null, observed });
    Object.assign(services, { runRequest });
    const { exit, out } = await type("exec", "run", "--", "npm", "publish");
    expect(exit).toBe(0);
    expect(out.match(/mode enforce would deny command\.run on npm/g)).toHaveLength(3);
    expect(out).toContain("and 1 more");
    expect(out).toContain(`next: sovereign policy learn ${RUN}`);
    expect(out).not.toContain("\u001b");
  });
});
