import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TestRepository } from "../executor/support/repository.ts";
import type { Worked, WorkOptions } from "./support/agent-world.ts";
import { dataOf, scriptedDoor, workOnce } from "./support/scripted-work.ts";

const AGENT = readFileSync(new URL("support/acp-agent.mjs", import.meta.url), "utf8");

let repository: TestRepository;
beforeEach(() => {
  repository = new TestRepository({ "a.txt": "first\nsecond\n", "agent.mjs": AGENT });
});
afterEach(() => {
  repository.dispose();
});

function run(how: string, more: Partial<WorkOptions> = {}): Promise<Worked> {
  const { order, ...rest } = more;
  const command = ["node", "agent.mjs", how];
  return workOnce(repository, {
    agent: "acp",
    model: scriptedDoor([]),
    order: { command, timeoutSeconds: 30, ...order },
    ...rest,
  });
}

function outputOf(worked: Worked): JsonObject {
  const outputs = dataOf(worked, "execution.completed").map(({ output }) => output as JsonObject);
  return outputs.find((one) => one["agent"] === "acp") ?? {};
}

/** What it said at its end. */
function saidOf(worked: Worked): string {
  const { text } = outputOf(worked)["claims"] as { readonly text: string };
  return text;
}

function toolsOf({ told }: Worked): [string, boolean][] {
  return told.flatMap((one) => (one.event === "agent.tool" ? [[one.tool, one.allowed]] : []));
}

describe("an agent that speaks the Agent Client Protocol", () => {
  test("asks, is answered by the kernel, and has its files served under policy", async () => {
    const state = repository.state();
    const worked = await run("honest", {
      order: { verify: ["test -f b.txt", "grep -q client made/c.txt"] },
    });
    expect(worked).toMatchObject({ code: "none" });
    expect(toolsOf(worked)).toEqual([
      ["Write", true],
      ["Write", true],
      ["Read", true],
    ]);
    expect(saidOf(worked)).toBe("and read: first");
    expect(outputOf(worked)).toMatchObject({ hooks: "asked", calls_allowed: 3, calls_denied: 0 });
    const types = dataOf(worked, "execution.completed").length;
    // The work, its three calls, two checks and the commit.
    expect(types).toBe(7);
    expect(repository.state()).toEqual(state);
  });

  test("has no hooks where it asks nobody, and the record says so", async () => {
    const worked = await run("silent");
    expect(worked).toMatchObject({ code: "none" });
    expect(outputOf(worked)).toMatchObject({ hooks: "none", calls_allowed: 0 });
  });

  test("has its hooks recorded as partial where it says to have made a call unasked", async () => {
    const worked = await run("partly");
    expect(worked).toMatchObject({ code: "none" });
    expect(outputOf(worked)).toMatchObject({ hooks: "partly", calls_allowed: 1 });
  });

  test.each<[string, string]>([
    ["denied", "ERR_AGENT_DENIED"],
    ["disobeys", "ERR_AGENT_HOOK"],
    ["refuses", "ERR_AGENT_FAILED"],
    ["half", "ERR_AGENT_FAILED"],
    ["longline", "ERR_AGENT_FAILED"],
    ["nonsense", "ERR_AGENT_FAILED"],
    ["version", "ERR_AGENT_FAILED"],
    ["early", "ERR_AGENT_FAILED"],
    ["kills", "ERR_EFFECT_KILLED"],
    ["never", "ERR_COMMAND_TIMEOUT"],
  ])("comes to nothing where it %s", async (how, code) => {
    const state = repository.state();
    const timeoutSeconds = how === "never" ? 3 : 30;
    const worked = await run(how, { order: { timeoutSeconds } });
    expect(worked).toMatchObject({ code, commit: null });
    expect(repository.state()).toEqual(state);
  });

  test("gets nothing out of bounds, of another session or of methods that are not offered", async () => {
    const worked = await run("probes", { order: { verify: ["test -f b.txt"] } });
    expect(worked).toMatchObject({ code: "none" });
    const { codes, outcomes } = JSON.parse(saidOf(worked)) as JsonObject;
    expect(codes).toEqual([
      ...[-32602, -32602, -32602, -32602, -32602],
      ...[-32602, -32602, -32602, -32603],
      ...[-32000, -32000],
      ...[-32601, -32601, -32601, -32601],
      ...[-32602, -32602, -32602],
    ]);
    expect(outcomes).toEqual(["no", "no", "no", "once"]);
    const calls = toolsOf(worked).filter(([, allowed]) => allowed);
    expect(calls.map(([tool]) => tool)).toEqual(["Write", "Bash"]);
  });

  test("is answered in bounds where it asks in a crowd, and talks without an end", async () => {
    const worked = await run("crowd", { order: { verify: ["grep -q true b.txt"] } });
    expect(worked).toMatchObject({ code: "none" });
    expect(toolsOf(worked).length).toBeLessThanOrEqual(64);
    const said = worked.told.flatMap((one) => (one.event === "agent.text" ? [one.text] : []));
    expect(said.join("").length).toBeLessThan(5 * 1024 * 1024);
  });
});

describe("an agent of the protocol whose attempt was killed", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sov-agent-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** What the killed attempt left: its tree with b.txt, its conversation, and what we keep of both. */
  function interrupted(): void {
    const root = join(folder, "work/earlier");
    const state = join(folder, "work/session/data/acp-agent");
    for (const path of [root, state]) mkdirSync(path, { recursive: true });
    writeFileSync(join(root, "a.txt"), "first\nsecond\n");
    writeFileSync(join(root, "agent.mjs"), AGENT);
    writeFileSync(join(root, "b.txt"), "of before\n");
    writeFileSync(join(state, "s1.txt"), "the task");
    // Settings that it wrote beside its conversation are not kept.
    writeFileSync(join(folder, "work/session/settings.json"), "{}");
    const kept = { agent: "acp", program_sha256: "0".repeat(64), session: "s1", root };
    writeFileSync(join(folder, "work/session.json"), JSON.stringify(kept), { mode: 0o600 });
  }

  const sessions = ({ told }: Worked): string[] =>
    told.flatMap((one) => (one.event === "agent.started" ? [one.session] : []));

  test("goes on with its conversation and its files, and what it tells again is no news", async () => {
    interrupted();
    const verify = ["grep -q before b.txt", "grep -q task c.txt", "grep -q interrupted c.txt"];
    const worked = await run("remembers", { folder, order: { verify } });
    expect(worked).toMatchObject({ code: "none" });
    expect(sessions(worked)).toEqual(["continued"]);
    expect(outputOf(worked)).toMatchObject({ hooks: "asked", calls_allowed: 1 });
    expect(worked.told).not.toContainEqual({ event: "agent.text", text: "of before" });
  });

  test.each(["forgets", "silent"])("begins again where it %s", async (how) => {
    interrupted();
    const worked = await run(how, { folder });
    expect(worked).toMatchObject({ code: "none" });
    expect(sessions(worked)).toEqual(["continued", "again"]);
    expect(outputOf(worked)).toMatchObject({ session: "again", files_changed: 1 });
  });

  test("gets nothing while it loads", async () => {
    interrupted();
    const verify = ["grep -q -e '-32602 -32602' c.txt", "test ! -e d.txt"];
    const worked = await run("meddles", { folder, order: { verify } });
    expect(worked).toMatchObject({ code: "none" });
    expect(outputOf(worked)).toMatchObject({ calls_allowed: 0, session: "continued" });
  });
});
