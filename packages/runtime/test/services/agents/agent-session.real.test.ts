import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, utf8Encode } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../../src/authority/index.ts";
import { type Installation, openInstallation } from "../../../src/installation/index.ts";
import { readRun } from "../../../src/ledger/index.ts";
import { parsePolicy } from "../../../src/policy/index.ts";
import { type AgentSession, createAgentSession, resumeRun } from "../../../src/services/index.ts";
import { copyCluster } from "../../support/prepared.ts";

const POLICY = `
policy_id: session
schema_version: 1.0.0
agent: { tools: { write: allow, read: judge, fail: allow } }
allowlist: { file_operations: [read_file], paths: ["docs/**"] }
`;
const TENANT = "embed";

let home: string;
let installation: Installation;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "session-"));
  copyCluster(join(home, "postgres"));
  installation = await openInstallation({
    home,
    databaseUrl: null,
    passphrase: null,
    environment: { PATH: process.env["PATH"] },
  });
  const { keyLog, keystore } = installation;
  await keyLog.initialise(keystore, [...INSTALLATION_KEYS, { purpose: "role", role: "helper" }]);
});
afterAll(async () => {
  await installation.close();
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

const running = () => ({
  installation,
  tenantId: TENANT,
  approvers: [],
  allowCompatible: false,
  signal: new AbortController().signal,
  onProgress: () => undefined,
});

function begin(role = "helper", name = "session"): Promise<AgentSession> {
  const policy = parsePolicy(utf8Encode(POLICY), "policy.yaml");
  return createAgentSession({ ...running(), name, policy, role });
}

async function entriesOf(run: string): Promise<{ event: string; data: JsonObject }[]> {
  const found: { event: string; data: JsonObject }[] = [];
  for await (const { entry } of readRun(installation.store, TENANT, run)) {
    found.push({ event: entry.event_type, data: entry.data });
  }
  return found;
}

const verdictOf = ({ bundle, trustRoot }: { bundle: string; trustRoot: string }): string =>
  verifyBundle(readFileSync(bundle), { trustRoot: readFileSync(trustRoot), level: "sovereign" })
    .verdict;

describe("a program's own agent session", () => {
  it("decides and records each call before the tool has it, and its end after it", async () => {
    const session = await begin();
    const seen: string[][] = [];
    const events = async () => (await entriesOf(session.runId)).map(({ event }) => event);
    const write = session.tool("write", async (input) => {
      seen.push(await events());
      // What the caller does with it meanwhile changes nothing here.
      given.path = "changed";
      return { wrote: input["path"] ?? null };
    });
    const given = { path: "a" };
    expect(await write(given, { toolCallId: "toolu_1" })).toEqual({ wrote: "a" });
    expect(seen).toEqual([["run.admitted", "execution.authorized"]]);
    expect((await events()).at(-1)).toBe("execution.completed");
    const [, intent, end] = await entriesOf(session.runId);
    expect(intent?.data["action"]).toMatchObject({
      type: "agent.tool_call",
      resource: "write",
      params: { call: "toolu_1", extract: { path: "a" }, input: { bytes: 12 } },
    });
    expect(end?.data["output"]).toMatchObject({ response: { bytes: 13 } });
    const report = await session.end();
    expect(report.status).toBe("completed");
    expect(verdictOf(report)).toBe("VALID");
    await expect(write({ path: "late" })).rejects.toMatchObject({ code: "ERR_RUN_SEALED" });
  });

  it("makes no call that policy denies, by the tool's name or by what it does", async () => {
    const session = await begin();
    const made: string[] = [];
    const asks = ({ path }: { path: string }) => [
      { type: "file.read", resource: path, params: {} },
    ];
    const read = session.tool("read", ({ path }: { path: string }) => made.push(path), asks);
    const other = session.tool("other", () => made.push("other"));
    await read({ path: "docs/a.md" });
    for (const path of ["src/a.ts", "docs/../src/a.ts", "/etc/passwd"]) {
      await expect(read({ path })).rejects.toMatchObject({ code: "ERR_POLICY_DENIED" });
    }
    await expect(other({})).rejects.toMatchObject({ code: "ERR_POLICY_DENIED" });
    expect(made).toEqual(["docs/a.md"]);
    expect(verdictOf(await session.end())).toBe("VALID");
  });

  it("records a tool that fails as failed, and gives its error on", async () => {
    const session = await begin();
    const broken = new Error("no such order");
    const fail = session.tool("fail", () => Promise.reject(broken));
    await expect(fail({})).rejects.toBe(broken);
    const unspeakable = session.tool("fail", () => () => undefined);
    await expect(unspeakable({})).rejects.toMatchObject({ code: "ERR_AGENT_TOOL_FAILED" });
    const ends = (await entriesOf(session.runId)).filter(({ event }) => event.endsWith(".failed"));
    expect(ends.map(({ data }) => data["code"])).toEqual([
      "ERR_AGENT_TOOL_FAILED",
      "ERR_AGENT_TOOL_FAILED",
    ]);
    const report = await session.end("the order was not found");
    expect(report.status).toBe("failed");
    expect(verdictOf(report)).toBe("VALID");
  });

  it("gives the SDK what was recorded, whatever the tool makes of its answer later", async () => {
    const session = await begin();
    const answer = { wrote: ["a"] };
    let reads = 0;
    const flipping = Object.defineProperty({}, "wrote", {
      enumerable: true,
      get: () => (reads++ === 0 ? "a" : "b"),
    });
    const write = session.tool("write", () => answer);
    const flip = session.tool("write", () => flipping);
    const given = await write({});
    answer.wrote.push("b");
    expect(given).toEqual({ wrote: ["a"] });
    expect(await flip({})).toEqual({ wrote: "a" });
    const told = await session.ask("write", {});
    if (!told.allowed) throw new Error("denied");
    const later = { wrote: "a" };
    const done = told.ended(later);
    later.wrote = "changed";
    await done;
    const ends = (await entriesOf(session.runId)).filter(({ event }) =>
      event.endsWith("completed"),
    );
    const sizes = ['{"wrote":["a"]}', '{"wrote":"a"}', '{"wrote":"a"}'].map((one) => one.length);
    expect(ends.map(({ data }) => data["output"])).toMatchObject(
      sizes.map((bytes) => ({ response: { bytes } })),
    );
    expect(verdictOf(await session.end())).toBe("VALID");
  });

  it("takes one end of each call, and none after the session's", async () => {
    const session = await begin();
    const [once, open] = [await session.ask("write", {}), await session.ask("write", {})];
    if (!once.allowed || !open.allowed) throw new Error("denied");
    await once.ended({ wrote: "a" });
    await expect(once.ended({ wrote: "b" })).rejects.toMatchObject({ code: "ERR_STEP_REPEATED" });
    await expect(once.failed("no")).rejects.toMatchObject({ code: "ERR_STEP_REPEATED" });
    const report = await session.end();
    await expect(open.ended({ wrote: "c" })).rejects.toMatchObject({ code: "ERR_RUN_SEALED" });
    const ends = (await entriesOf(session.runId)).filter(({ event }) =>
      /execution\.(completed|failed)/.test(event),
    );
    expect(ends.map(({ event }) => event)).toEqual(["execution.completed", "execution.failed"]);
    expect(verdictOf(report)).toBe("VALID");
  });

  it("ends with a call that was asked for and not yet allowed: nobody is told to make it", async () => {
    const session = await begin();
    const asked = session.ask("write", { path: "a" });
    const [call, report] = await Promise.all([asked, session.end()]);
    expect(call).toMatchObject({ allowed: false, code: "ERR_RUN_SEALED" });
    const ends = (await entriesOf(session.runId)).filter(({ event }) => event.endsWith(".failed"));
    expect(ends.map(({ data }) => data["reason"])).toEqual([
      "the tool failed: nobody said how the call ended",
    ]);
    expect(verdictOf(report)).toBe("VALID");
  });

  it("answers an SDK that makes its calls itself, and records what it is told", async () => {
    const session = await begin();
    const denied = await session.ask("other", {});
    expect(denied).toMatchObject({ allowed: false, code: "ERR_POLICY_DENIED" });
    const first = await session.ask("write", { path: "a" });
    const second = await session.ask("write", { path: "b" });
    const third = await session.ask("write", { path: "c" });
    if (!first.allowed || !second.allowed || !third.allowed) throw new Error("denied");
    await second.ended({ wrote: "b" });
    await first.failed("the disk is full");
    // Nobody tells the end of the third.
    const report = await session.end();
    const ends = (await entriesOf(session.runId)).filter(({ event }) =>
      /execution\.(completed|failed)/.test(event),
    );
    expect(ends.map(({ event, data }) => [event, data["reason"] ?? null])).toEqual([
      ["execution.completed", null],
      ["execution.failed", "the tool failed: the disk is full"],
      ["execution.failed", "the tool failed: nobody said how the call ended"],
    ]);
    expect(verdictOf(report)).toBe("VALID");
  });

  it("begins nothing for a role without a key, or under a name that evidence cannot have", async () => {
    await expect(begin("helper", "a name")).rejects.toMatchObject({ code: "ERR_FORMAT_INVALID" });
    await expect(begin("nobody")).rejects.toMatchObject({ code: "ERR_KEY_NOT_FOUND" });
  });

  it("is sealed as failed by whoever resumes it after its program is gone", async () => {
    const session = await begin();
    await session.tool("write", () => null)({});
    const ended = await resumeRun({ ...running(), waitMs: 0 }, session.runId);
    expect(ended).toMatchObject({ status: "failed", code: "ERR_AGENT_FAILED" });
    const { bundle, trustRoot } = ended;
    expect(verdictOf({ bundle: bundle ?? "", trustRoot: trustRoot ?? "" })).toBe("VALID");
    // The program that came back may do nothing in it any more.
    await expect(session.tool("write", () => null)({})).rejects.toThrow();
  });
});
