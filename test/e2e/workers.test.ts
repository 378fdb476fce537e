import { type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { endOf } from "./cli.ts";
import { ok } from "./two-machines.ts";
import { until, WorkerWorld } from "./worker-world.ts";

let world: WorkerWorld;
beforeAll(async () => {
  world = await WorkerWorld.open();
});
afterEach(async () => {
  await world.killWorkers();
  world.answerAll();
});
afterAll(async () => {
  await world.dispose();
});

const THREE = [{ id: "first" }, { id: "held", needs: ["first"] }, { id: "last", needs: ["held"] }];

/** Submit a run and have a worker come to its second step, whose answer waits. */
async function comeToSecond(
  tenant: string,
  steps: readonly object[] = THREE,
  ...more: string[]
): Promise<{ run: string; worker: ChildProcess }> {
  const run = await world.submit(tenant, steps);
  world.hold();
  const worker = world.startWorker(...more);
  await until("the second step", () => world.asked.includes(`/${tenant}/held`));
  return { run, worker };
}

describe("workers", { timeout: 900_000 }, () => {
  it("carry out what was submitted, by priority; other tenants do not see it", async () => {
    const plain = await world.submit("acme", [{ id: "plain" }]);
    const first = await world.submit("acme", [{ id: "urgent" }], "--priority", "10");
    const later = await world.submit("acme", [{ id: "later" }], "--priority=-10");
    expect((await world.rowOf("acme", plain))?.["status"]).toBe("queued");
    world.startWorker("--concurrency", "1");
    for (const run of [plain, first, later]) await world.ended("acme", run, "completed");
    const order = world.asked.filter((url) => url.startsWith("/acme/"));
    expect(order).toEqual(["/acme/urgent", "/acme/plain", "/acme/later"]);
    await world.provedOnce("acme", first, ["urgent"]);
    const other = await world.installation.run(["runs", "show", first, "--tenant", "other"]);
    expect(other.err).toContain("ERR_RUN_NOT_FOUND");
  });

  it("take over from one that is killed, and record nothing twice", async () => {
    const { run, worker } = await comeToSecond("killed");
    worker.kill("SIGKILL");
    await once(worker, "close");
    world.answerAll();
    world.startWorker();
    await world.ended("killed", run, "completed");
    await world.provedOnce("killed", run, ["first", "held", "last"]);
    expect(world.asked.filter((url) => url === "/killed/first")).toHaveLength(1);
    expect(await world.statusesOf("killed", run, "held")).toEqual(["unknown", "completed"]);
    expect(await world.incidents("killed")).toMatchObject([{ kind: "lost_worker", state: "open" }]);
  });

  it("ask a person where a lost step must not happen twice", async () => {
    const [first, held, last] = THREE;
    const steps = [first, { ...held, with: { method: "POST" } }, last] as object[];
    const { run, worker } = await comeToSecond("unsafe", steps);
    worker.kill("SIGKILL");
    await once(worker, "close");
    world.answerAll();
    world.startWorker();
    await world.ended("unsafe", run, "pending");
    const kinds = (await world.incidents("unsafe")).map(({ kind }) => kind);
    expect(kinds.sort()).toEqual(["lost_worker", "unknown_outcome"]);
    expect(world.asked.filter((url) => url === "/unsafe/held")).toHaveLength(1);
    // Workers leave it to a person.
    const again = ["run", "resume", run, "--tenant", "unsafe", "--retry-failed"];
    await ok(world.installation, again, world.env);
    await world.provedOnce("unsafe", run, ["first", "held", "last"]);
  });

  it("that stood still write nothing once another has gone on", async () => {
    const { run, worker } = await comeToSecond("stopped");
    worker.kill("SIGSTOP");
    world.answerOthers();
    world.startWorker();
    await world.ended("stopped", run, "completed");
    const before = await world.traceOf("stopped", run);
    worker.kill("SIGCONT");
    world.answerAll();
    // It knows that it has lost the run, and lives.
    await until("the lost run", () =>
      world.toldBy(worker).some(({ event }) => event === "worker.ended"),
    );
    expect(await world.traceOf("stopped", run)).toBe(before);
    await world.provedOnce("stopped", run, ["first", "held", "last"]);
    expect(await world.incidents("stopped")).toMatchObject([{ kind: "lost_worker" }]);
    const next = await world.submit("stopped", [{ id: "next" }]);
    await world.ended("stopped", next, "completed");
  });

  it("finish what is at work when they are ended, and take no other", async () => {
    const { run, worker } = await comeToSecond("drained");
    const waiting = await world.submit("drained", [{ id: "waiting" }]);
    const isFull = world.startWorker("--concurrency", "1");
    await world.ended("drained", waiting, "completed");
    worker.kill("SIGTERM");
    await until("the drain", () =>
      world.toldBy(worker).some(({ event }) => event === "worker.ending"),
    );
    const ended = once(worker, "close");
    world.answerAll();
    await ended;
    expect(worker.exitCode).toBe(0);
    expect((await world.rowOf("drained", run))?.["status"]).toBe("completed");
    expect(await world.incidents("drained")).toEqual([]);
    isFull.kill("SIGTERM");
    expect((await once(isFull, "close"))[0]).toBe(0);
  });

  it("leave what does not come to its end in time to another, at once", async () => {
    const run = await world.submit("left", THREE);
    world.hold();
    const worker = world.startWorker("--drain", "0", "--lease-seconds", "600");
    await until("the second step", () => world.asked.includes("/left/held"));
    worker.kill("SIGTERM");
    expect((await once(worker, "close"))[0]).toBe(0);
    world.answerAll();
    world.startWorker();
    await world.ended("left", run, "completed");
    expect(await world.statusesOf("left", run, "held")).toEqual(["killed", "completed"]);
    expect(await world.incidents("left")).toEqual([]);
  });

  it("end a run that is cancelled, waiting or at work", async () => {
    const waiting = await world.submit("cancelled", THREE);
    const cancel = (run: string): string[] => [
      ...["runs", "cancel", run, "--tenant", "cancelled", "--reason", "not wanted"],
    ];
    await world.installation.run(cancel(waiting), world.env);
    await world.ended("cancelled", waiting, "failed");
    const { run } = await comeToSecond("cancelled");
    await world.installation.run(cancel(run), world.env);
    await world.ended("cancelled", run, "failed");
    expect(world.asked.filter((url) => url === "/cancelled/first")).toHaveLength(1);
  });

  it("have their steps ended by the kill switch, and begin nothing until it is reset", async () => {
    const BOTH = ["--operator-key", "alice", "--architect-key", "bob"];
    const keys = ["keys", "add", "--operator", "alice", "--architect", "bob"];
    await ok(world.installation, keys, world.env);
    // It has room for no other, so the second run waits when the stop comes.
    const { run, worker } = await comeToSecond("scrammed", THREE, "--concurrency", "1");
    const waiting = await world.submit("waiting", [{ id: "waiting" }]);
    const stop = await world.installation.run(["scram", "activate", ...BOTH], world.env);
    expect(stop.code).toBe(0);
    await world.ended("scrammed", run, "failed");
    expect(world.asked).not.toContain("/scrammed/last");
    expect(await world.incidents("scrammed")).toMatchObject([
      { kind: "kill", severity: "CRITICAL" },
    ]);
    await until("that it waits", () =>
      world.toldBy(worker).some(({ event }) => event === "worker.waits"),
    );
    const late = endOf(
      world.installation.start(world.submission("late", [{ id: "late" }]), world.env),
    );
    expect((await late).code).toBe(5);
    world.answerAll();
    const reset = ["scram", "reset", ...BOTH, "--reason", "looked into"];
    await ok(world.installation, reset, world.env);
    await world.ended("waiting", waiting, "completed");
  });
});
