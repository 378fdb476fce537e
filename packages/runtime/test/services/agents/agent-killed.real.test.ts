import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { ScriptedTurn } from "../../../../../examples/agent/scripted-model.ts";
import { alive, KilledRig, modelCalls, PATIENCE_MS, textOf, until } from "./support/killed-rig.ts";

/** Longer than any test: what ends only by force, under a name that nothing else has. */
const NAP = "setTimeout(() => {}, 31415926)";
const naps = (): number => alive(`node -e ${NAP}`).length;
const HANGING: ScriptedTurn = { text: "x".repeat(100), fault: { kind: "hang_in_stream" } };

vi.setConfig({ testTimeout: 2 * PATIENCE_MS });

describe.each(["claude", "codex"])("%s at work", (agent) => {
  let rig: KilledRig;
  beforeAll(async () => {
    rig = await KilledRig.create(agent);
  });
  beforeEach(() => {
    rig.begin();
  });
  afterEach(async () => {
    await rig.end();
  });
  afterAll(async () => {
    await rig.dispose();
  });

  test("is stopped by two keys amid a tool call that the ledger shows as open", async () => {
    const state = rig.repository.state();
    // Some agents let their model go on while a command runs.
    rig.turns = [rig.dialect.shell(`node -e '${NAP}'`), HANGING];
    const work = rig.work("Wait");
    await until(() => naps() === 1, work.said);
    const run = textOf((await rig.newestRun())["run"]);
    expect(await rig.callsOf(run)).toEqual([["execution.authorized"]]);
    expect(await rig.stop()).toBe(0);
    expect(naps()).toBe(0);
    const { exit, lines } = await work.ended;
    expect(exit).toBe(5);
    expect(await rig.callsOf(run)).toEqual([["execution.authorized", "execution.killed"]]);
    expect(rig.repository.state()).toEqual(state);
    expect(lines.at(-1)).toMatchObject({ status: "failed", verdict: "VALID" });
  });

  test("is stopped by two keys amid an answer of its model, which counts", async () => {
    const state = rig.repository.state();
    rig.turns = [rig.dialect.write("b.txt", "b"), HANGING];
    const work = rig.work("Make a file");
    await until(() => rig.model.used.length === 2, work.said);
    expect(rig.agents().length).toBeGreaterThan(0);
    expect(await rig.stop()).toBe(0);
    expect(rig.agents()).toEqual([]);
    const { exit, lines } = await work.ended;
    expect(exit).toBe(5);
    expect(rig.proxies()).toEqual([]);
    expect(rig.repository.state()).toEqual(state);
    const end = lines.at(-1);
    expect(end).toMatchObject({ status: "failed", verdict: "VALID" });
    const { begun, ends } = modelCalls(textOf(end?.["bundle"]));
    expect([begun, ends.length]).toEqual([2, 2]);
    const [first] = rig.model.used;
    expect(ends[0]?.["usage"]).toMatchObject({ input: first?.input, output: first?.output });
    expect(ends[1]).toMatchObject({ usage: null });
  });

  test("is dead when its control is killed amid a model call, and goes on when it resumes", async () => {
    const { write, shell } = rig.dialect;
    const state = rig.repository.state();
    rig.turns = [write("b.txt", "b"), HANGING];
    const work = rig.work("Make two files");
    await until(() => rig.model.used.length === 2, work.said);
    await rig.killControl(work);
    const { run, status } = await rig.newestRun();
    expect(status).toBe("running");
    expect(rig.repository.state()).toEqual(state);

    // Its files are as it left them, and its model is told what was said before.
    rig.turns = [shell("cat b.txt"), write("c.txt", "c")];
    const resumed = await rig.call("agent", "resume", textOf(run));
    expect(resumed.exit).toBe(0);
    const started = resumed.lines.filter(({ event }) => event === "agent.started");
    expect(started).toMatchObject([{ session: "continued" }]);
    const third = JSON.stringify(rig.model.requests[2]?.body);
    expect(third).toContain("Make two files");
    expect(third).toContain("You were interrupted");
    const applied = await rig.call("agent", "apply", textOf(run));
    expect(applied.exit).toBe(0);
    expect(["b.txt", "c.txt"].map((path) => rig.repository.read(path))).toEqual(["b\n", "c\n"]);
    const end = applied.lines.find(({ bundle }) => typeof bundle === "string");
    expect(end).toMatchObject({ verdict: "VALID" });
    const { begun, ends } = modelCalls(textOf(end?.["bundle"]));
    // Each call has one end; of all but the one that was cut the usage is what the vendor counted.
    expect(ends.length).toBe(begun);
    expect(begun).toBe(rig.model.used.length);
    const unseen = ends.filter(({ ended }) => ended === "unknown");
    expect(unseen).toMatchObject([{ usage: null }]);
  });

  test("starts again when it resumes and its conversation is gone", async () => {
    const { write } = rig.dialect;
    rig.turns = [write("b.txt", "b"), HANGING];
    const work = rig.work("Make a file");
    await until(() => rig.model.used.length === 2, work.said);
    await rig.killControl(work);
    const run = textOf((await rig.newestRun())["run"]);
    rig.forgetSession(run);

    rig.turns = [write("c.txt", "c")];
    const resumed = await rig.call("agent", "resume", run);
    expect(resumed.exit).toBe(0);
    const sessions = resumed.lines
      .filter(({ event }) => event === "agent.started")
      .map(({ session }) => session);
    expect(sessions).toEqual(["continued", "again"]);
    const third = JSON.stringify(rig.model.requests[2]?.body);
    expect(third).toContain("Make a file");
    expect(third).not.toContain("You were interrupted");
    // What was begun before is gone with it.
    const { lines } = await rig.call("agent", "diff", run);
    expect(lines[0]?.["patch"]).toMatch(/c\.txt/);
    expect(lines[0]?.["patch"]).not.toMatch(/b\.txt/);
  });

  test("comes to nothing when its model proxy is killed amid a call, which counts", async () => {
    const state = rig.repository.state();
    rig.turns = [rig.dialect.shell("ls"), HANGING];
    const work = rig.work("Look");
    await until(() => rig.model.used.length === 2, work.said);
    for (const pid of rig.proxies()) process.kill(pid, "SIGKILL");
    const { exit, lines } = await work.ended;
    expect(exit).not.toBe(0);
    expect(rig.agents()).toEqual([]);
    expect(rig.repository.state()).toEqual(state);
    const end = lines.find(({ bundle }) => typeof bundle === "string");
    expect(end).toMatchObject({ status: "failed", verdict: "VALID" });
    const { begun, ends } = modelCalls(textOf(end?.["bundle"]));
    expect(ends.length).toBe(begun);
    expect(ends.filter(({ ended }) => ended === "unknown")).toMatchObject([{ usage: null }]);
    const [first] = rig.model.used;
    expect(ends[0]?.["usage"]).toMatchObject({ input: first?.input, output: first?.output });
  });
});
