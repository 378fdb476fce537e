import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { SecretStore } from "../../../src/agents/index.ts";
import { type KeyFile, SecretBox } from "../../../src/authority/key-secret.ts";
import { Settings } from "../../../src/home/index.ts";
import { type GoalRunInput, goalServices } from "../../../src/services/goals/goal-services.ts";
import type { Opened } from "../../../src/services/opened.ts";
import { runServices } from "../../../src/services/runs/run-services.ts";
import type { WorkerEvent } from "../../../src/services/workers/worker.ts";
import { workerServices } from "../../../src/services/workers/worker-services.ts";
import { answerJson, policyFor } from "../../support/goal-rig.ts";
import { NodeRig, type TestNode, until } from "../../support/node-rig.ts";

let rig: NodeRig;
let answers = true;
const server = createServer((request, response) => {
  if (answers) answerJson(request.url ?? "", response);
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  rig = await NodeRig.open(2, "{ lease_ms: 30000 }");
});
afterEach(() => endWorkers());
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rig.close();
});

const both = (): [TestNode, TestNode] => rig.nodes as [TestNode, TestNode];
const host = (): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;

function servicesOf(node: TestNode) {
  const settings = Settings.of(node.home, { PATH: process.env["PATH"], DATABASE_URL: node.url });
  // As where one is opened: not at once.
  const opened: Opened = async (work) => {
    await Promise.resolve();
    return work(node.installation);
  };
  return {
    ...runServices(settings, opened),
    ...goalServices(settings, opened),
    ...workerServices(opened),
  };
}

const controllers: AbortController[] = [];
const ends: Promise<void>[] = [];

/** What a worker of a node tells, until the test ends. */
function startWorker(node: TestNode): WorkerEvent[] {
  const told: WorkerEvent[] = [];
  const controller = new AbortController();
  controllers.push(controller);
  const times = { leaseMs: 60_000, drainMs: 60_000 };
  const tell = (event: WorkerEvent): void => void told.push(event);
  ends.push(servicesOf(node).work({ concurrency: 2, ...times, signal: controller.signal, tell }));
  return told;
}

async function endWorkers(): Promise<void> {
  for (const controller of controllers.splice(0)) controller.abort();
  await Promise.all(ends.splice(0));
}

/** Submit a goal of these steps, and leave it to workers. */
async function submit(node: TestNode, steps: readonly object[]): Promise<string> {
  const [policyFile, planFile] = [join(rig.folder, "policy.json"), join(rig.folder, "plan.json")];
  writeFileSync(policyFile, JSON.stringify(policyFor(host())));
  writeFileSync(planFile, JSON.stringify({ steps }));
  const input: GoalRunInput = {
    ...{ tenantId: "acme", approvers: [], signal: new AbortController().signal },
    ...{ onProgress: () => undefined, goal: "look twice", agentId: "bot" },
    ...{ originSystemId: "billing", planFile, planner: "file", policyFile, inputs: {} },
    ...{ role: "runner", idempotencyKey: null, limits: {}, priority: 0 },
  };
  const { runId, status } = await servicesOf(node).runGoal(input);
  expect(status).toBe("queued");
  return runId;
}

const completed = (node: TestNode, run: string): Promise<void> =>
  until("the run completes", async () => {
    const row = await node.installation.store.findRun("acme", run);
    return row?.status === "completed" && (await servicesOf(node).showRun("acme", run)).published;
  });

const CALLS = (): object[] => {
  const url = `http://${host()}/`;
  const first = { id: "first", skill: "http_call", with: { url } };
  return [first, { id: "second", needs: ["first"], skill: "http_call", with: { url } }];
};

describe("a run that was submitted on another node", () => {
  it("is left to whoever has a key of its role, and then carried out without its folder", async () => {
    const [a, b] = both();
    const run = await submit(a, CALLS());
    const moves = { node: null, contents: "database", role: "runner" };
    expect((await servicesOf(a).showRun("acme", run)).workers).toContain("every data folder");
    // The key of the runner was enrolled by the submission: the second node has none yet.
    const without = startWorker(b);
    await until("what it leaves", () => without.some(({ event }) => event === "worker.leaves"));
    expect(without).toContainEqual({ event: "worker.leaves", waiting: [{ ...moves, runs: 1 }] });
    await endWorkers();
    expect(without.some(({ event }) => event === "worker.took")).toBe(false);
    cpSync(join(a.home, "keys"), join(b.home, "keys"), { recursive: true });
    await b.off();
    await b.on();
    await a.off();
    renameSync(join(a.home, "runs"), join(a.home, "gone"));
    startWorker(b);
    await completed(b, run);
    const there = servicesOf(b);
    expect(await there.proveRun("acme", run)).toMatchObject({
      integrity: { verification_status: "VERIFIED" },
    });
    mkdirSync(join(a.home, "runs"), { mode: 0o700 });
    await a.on();
    // Where it was submitted it is as well proved, and its files are named by no path that is not there.
    const shown = await servicesOf(a).showRun("acme", run);
    expect(shown).toMatchObject({ bundle: null, published: true, workers: null });
    expect(shown.next).toBe(`sovereign bundle export ${run} --tenant acme`);
    expect(await servicesOf(a).proveRun("acme", run)).toMatchObject({
      integrity: { verification_status: "VERIFIED" },
    });
  });

  it("stays with its folder where a step needs a secret, and the other's worker says so", async () => {
    const [a, b] = both();
    const secrets = new SecretStore(join(a.home, "secrets"), "acme", null);
    const secret = { name: "TOKEN", hosts: [host()], value: "12345678" };
    await secrets.set(secret, new Date(0).toISOString());
    const url = `http://${host()}/`;
    const headers = { authorization: "Bearer ${{ secrets.TOKEN }}" };
    const run = await submit(a, [{ id: "call", skill: "http_call", with: { url, headers } }]);
    const { id: node } = a.installation.node;
    for (const one of [a, b]) {
      expect((await servicesOf(one).showRun("acme", run)).workers).toBe(
        `those of node ${node} alone, which has the secret TOKEN, which the step call needs`,
      );
    }
    const told = startWorker(b);
    await until("what it leaves", () => told.some(({ event }) => event === "worker.leaves"));
    const waiting = [{ node, contents: null, role: null, runs: 1 }];
    expect(told).toContainEqual({ event: "worker.leaves", waiting });
    startWorker(a);
    await completed(a, run);
    expect(told.some(({ event }) => event === "worker.took")).toBe(false);
  });

  it("is seen to end where it is cancelled here and carried out there", async () => {
    const [a, b] = both();
    answers = false;
    const run = await submit(a, CALLS());
    startWorker(b);
    await until("its first step", async () => {
      const [step] = await b.installation.store.listSteps("acme", run);
      return step?.status === "running";
    });
    const input = { tenantId: "acme", approvers: [], onProgress: () => undefined };
    const { signal } = new AbortController();
    const cancelled = { by: "alice", reason: "a wrong address" };
    const ended = await servicesOf(a).cancelRun(run, { ...input, signal }, cancelled);
    answers = true;
    // Its evidence is the other node's: it was not published here instead.
    expect(ended).toMatchObject({ status: "failed", code: "ERR_RUN_CANCELLED", bundle: null });
    expect(ended.reason).toBe("Cancelled by alice: a wrong address");
    const shown = await servicesOf(a).showRun("acme", run);
    expect(shown).toMatchObject({ status: "failed", published: true, bundle: null });
    await until(
      "its bundle",
      async () => (await servicesOf(b).showRun("acme", run)).bundle !== null,
    );
  });

  it("is taken by no worker whose keys do not open", async () => {
    const [a, b] = both();
    const run = await submit(a, CALLS());
    const unlock = await lockKey(b, "binding");
    const told = startWorker(b);
    await until("what it leaves", () => told.some(({ event }) => event === "worker.leaves"));
    const reason = expect.stringMatching(
      /^No run of another node is taken: .*SOVEREIGN_PASSPHRASE_FILE/,
    ) as string;
    expect(told).toContainEqual({ event: "worker.waits", reason });
    await endWorkers();
    expect(told.some(({ event }) => event === "worker.took")).toBe(false);
    unlock();
    startWorker(b);
    await completed(b, run);
  });

  it("is left to people after ten workers could not carry it out, with an incident", async () => {
    const [a] = both();
    const run = await submit(a, CALLS());
    const { queue } = a.installation.store;
    const place = { node: a.installation.node.id, contents: "database", roles: ["runner"] };
    for (let at = 0; at < 10; at++) {
      const claimed = await queue.claim("wrk", place, 60_000);
      if (claimed === null) throw new Error("it does not wait");
      await queue.giveBack("wrk", claimed, { waitMs: 0, why: "no room on the disk" });
    }
    const told = startWorker(a);
    await until("its end", () => told.some(({ event }) => event === "worker.ended"));
    const reason = "10 workers could not carry it out; the last said: no room on the disk";
    expect(told).toContainEqual(
      expect.objectContaining({ event: "worker.ended", run, status: "left to people", reason }),
    );
    const shown = await servicesOf(a).showRun("acme", run);
    expect(shown).toMatchObject({ status: "pending", reason, workers: null });
    const wanted = { limit: 10, state: "open", kind: "stuck_run" } as const;
    expect(await a.installation.store.incidents("acme").list(wanted)).toMatchObject([
      { subject: run, severity: "ERROR", run_id: run },
    ]);
    await endWorkers();
    // Somebody mended it, and leaves it to workers once more.
    await servicesOf(a).requeue("acme", run, { priority: 0, retryFailed: false });
    startWorker(a);
    await completed(a, run);
    expect(await servicesOf(a).proveRun("acme", run)).toMatchObject({
      integrity: { verification_status: "VERIFIED" },
    });
    rmSync(join(a.home, "gone"), { recursive: true, force: true });
  });
});

/** Encrypt a key of a node with a passphrase that it does not have. @returns what undoes that */
async function lockKey({ home, installation }: TestNode, purpose: string): Promise<() => void> {
  const records = await installation.keystore.records();
  const id = records.find((record) => record.purpose === purpose)?.key_id.slice(0, 16) ?? "none";
  const name = readdirSync(join(home, "keys")).find((one) => one.includes(id)) ?? "none";
  const path = join(home, "keys", name);
  const before = readFileSync(path, "utf8");
  const file = JSON.parse(before) as KeyFile & { secret: { seed: string } };
  const secret = await new SecretBox("of another").seal(
    Buffer.from(file.secret.seed, "base64"),
    file.record,
  );
  writeFileSync(path, JSON.stringify({ ...file, secret }));
  return () => {
    writeFileSync(path, before);
  };
}
