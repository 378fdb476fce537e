import type { IncomingMessage, ServerResponse } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { CuttableProxy } from "../../packages/runtime/test/support/cuttable-proxy.ts";
import {
  type PostgresServer,
  startPostgres,
} from "../../packages/runtime/test/support/postgres-server.ts";
import { Installation } from "./cli.ts";
import { NodeNetwork } from "./node-network.ts";
import { until, WorkerWorld } from "./worker-world.ts";

const folder = mkdtempSync(join(tmpdir(), "sov-cut-"));
const undo: (() => unknown)[] = [
  () => {
    rmSync(folder, { recursive: true, force: true });
  },
];
let network: NodeNetwork;
let server: PostgresServer;
let world: WorkerWorld;
let farUrl: string;
beforeAll(async () => {
  network = NodeNetwork.open();
  undo.push(() => {
    network.close();
  });
  server = await startPostgres(folder);
  undo.push(() => server.stop());
  const door = await CuttableProxy.start(server.port, network.database.here);
  undo.push(() => door.close());
  farUrl = server.url.replace(/127\.0\.0\.1:\d+/, `${network.database.here}:${door.port}`);
  const owner = server.superuser.replace(/\/postgres$/, "/app");
  world = await WorkerWorld.open({ url: server.url, owner }, network.world.here);
  undo.push(() => world.dispose());
});
afterEach(() => world.killWorkers());
afterAll(async () => {
  for (const one of undo.reverse()) await one();
});

/** @param leaseMs how long paths go on without word of the other nodes' stops */
async function addFar(leaseMs: number): Promise<Installation> {
  const env = { DATABASE_URL: farUrl };
  const far = new Installation({ processes: "each", within: network.within, env });
  writeFileSync(join(far.home, "config.yaml"), `scram: { lease_ms: ${leaseMs} }\n`);
  return world.addNode(far);
}

/** What the server that steps call sees of a path, and of whom. */
function watch(path: string): string[] {
  const seen: string[] = [];
  world.watch = (request: IncomingMessage, response: ServerResponse) => {
    if (request.url !== path) return;
    const who = request.socket.remoteAddress === network.world.there ? "far" : "near";
    seen.push(`${who} asks`);
    response.on("close", () =>
      seen.push(`${who} ${response.writableFinished ? "has it" : "left"}`),
    );
  };
  return seen;
}

/** All that the ledger has of a run. */
const recorded = (run: string): Promise<unknown[]> =>
  world.query("select sequence, hash from sovereign.entries where stream = $1 order by 1", [run]);

describe("a node whose way to the database is cut, and no other", { timeout: 900_000 }, () => {
  it.each([
    ["its worker's lease", 60_000],
    ["the kill switch's lease", 2000],
  ])("does nothing after %s, and records nothing once another goes on", async (_name, leaseMs) => {
    const tenant = `after-${leaseMs}`;
    world.hold();
    const seen = watch(`/${tenant}/held`);
    const run = await world.submit(tenant, [{ id: "held" }, { id: "then", needs: ["held"] }]);
    // The first submission makes the key of its role, which is copied.
    const far = await addFar(leaseMs);
    const worker = world.startWorkerOn(far, "--concurrency", "1", "--lease-seconds", "20");
    const told = (): string => JSON.stringify(world.toldBy(worker));
    await until("the far node's request", () => seen.includes("far asks"), told);
    network.pullDatabase();
    const near = world.startWorker("--lease-seconds", "20");
    await until("the near node's request", () => seen.includes("near asks"));
    // It let go of the server, which it could reach all the time, before anybody else began.
    expect(seen).toEqual(["far asks", "far left", "near asks"]);
    world.answerAll();
    await world.ended(tenant, run, "completed");
    await world.provedOnce(tenant, run, ["held", "then"]);
    const before = await recorded(run);
    near.kill("SIGTERM");
    await until("the near worker's end", () => near.exitCode !== null);
    network.plugDatabase();
    // Whatever it had to say of the first run, it had its say: it is at the next.
    const next = await world.submit(tenant, [{ id: "next" }]);
    await world.ended(tenant, next, "completed");
    expect(world.toldBy(worker)).toContainEqual(
      expect.objectContaining({ event: "worker.took", run: next }),
    );
    expect(await recorded(run)).toEqual(before);
    expect(seen).toEqual(["far asks", "far left", "near asks", "near has it"]);
    expect(world.asked.filter((path) => path === `/${tenant}/then`)).toHaveLength(1);
    await world.provedOnce(tenant, run, ["held", "then"]);
  });
});
