import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Answer, askAt } from "../../packages/runtime/test/support/api-rig.ts";
import {
  type Pooler,
  type PostgresServer,
  startPooler,
  startPostgres,
} from "../../packages/runtime/test/support/postgres-server.ts";
import { untilPaths } from "./cli.ts";
import { listening } from "./listening.ts";
import { until, WorkerWorld } from "./worker-world.ts";

const TENANTS = ["one", "two", "three", "four"];
const folder = mkdtempSync(join(tmpdir(), "sov-shared-"));
let database: PostgresServer;
let pooler: Pooler;
let world: WorkerWorld;
let url: string;
const tokens = new Map<string, string>();
beforeAll(async () => {
  database = await startPostgres(folder);
  pooler = await startPooler(folder, database);
  const owner = database.superuser.replace(/\/postgres$/, "/app");
  world = await WorkerWorld.open({ url: pooler.url, owner });
  const policies = join(world.installation.home, "policies");
  mkdirSync(policies);
  for (const tenant of TENANTS) {
    writeFileSync(join(policies, `${tenant}.yaml`), JSON.stringify(world.policy));
    const create = ["tokens", "create", "--tenant", tenant, "--expires", "1h", "--json"];
    const scopes = ["--scope", "runs:write", "runs:read", "evidence:read"];
    const { out } = await world.installation.run([...create, ...scopes], world.env);
    tokens.set(tenant, (JSON.parse(out) as { token: string }).token);
  }
  const serve = ["serve", "--no-worker", "--listen", "127.0.0.1:0", "--json"];
  url = await listening(world.start(serve));
});
afterEach(() => world.killWorkers());
afterAll(async () => {
  await world.dispose();
  await pooler.stop();
  await database.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Each tenant has its own incidents; the near workers had runs of two tenants at least. */
const LOST =
  "select count(*)::int as count, count(*) < 2 as few from sovereign.incidents where kind = 'lost_worker'";

const ask = (tenant: string, method: string, path: string, body?: object): Promise<Answer> =>
  askAt(url, tokens.get(tenant) ?? "", method, path, body === undefined ? {} : { body });

async function submitOver(tenant: string, steps: readonly object[]): Promise<string> {
  const plan = world.plan(tenant, steps);
  const answer = await ask(tenant, "POST", "/v1/runs", { goal: "x", agent_id: "bot", plan });
  expect(answer).toMatchObject({ status: 202, json: { is_new: true } });
  return String(answer.json["run_id"]);
}

describe("three workers of four tenants behind PgBouncer", { timeout: 900_000 }, () => {
  it("carry out goals of the command line and of HTTP, of which one dies and one stands still", async () => {
    const runs: { tenant: string; run: string; steps: string[] }[] = [];
    for (const tenant of TENANTS) {
      const steps = [{ id: "first" }, { id: "held", needs: ["first"] }];
      const said = await world.submit(tenant, steps);
      runs.push({ tenant, run: said, steps: ["first", "held"] });
      const http = await submitOver(tenant, [{ id: "http" }]);
      runs.push({ tenant, run: http, steps: ["http"] });
    }
    const far = await world.addNode();
    world.hold();
    const near = [1, 2].map(() => world.startWorker("--concurrency", "2"));
    world.startWorkerOn(far, "--concurrency", "2");
    const isHeld = (tenant: string): boolean => world.asked.includes(`/${tenant}/held`);
    await until("every tenant's second step", () => TENANTS.every(isHeld));
    // The far one has room for two of the four: whatever the near ones had is gone on with there.
    near[0]?.kill("SIGKILL");
    near[1]?.kill("SIGSTOP");
    world.answerAll();
    for (const { tenant, run } of runs) await world.ended(tenant, run, "completed");
    near[1]?.kill("SIGCONT");
    for (const { tenant, run, steps } of runs) {
      await world.provedOnce(tenant, run, steps);
      const proof = await ask(tenant, "GET", `/v1/runs/${run}/proof`);
      expect(proof.json).toMatchObject({ integrity: { verification_status: "VERIFIED" } });
      const shown = await ask(tenant, "GET", `/v1/runs/${run}`);
      expect(shown.json).toMatchObject({ status: "completed", published: true });
    }
    expect(await world.query(LOST)).toEqual([{ count: expect.any(Number) as number, few: false }]);
    for (const one of [world.installation, far]) await untilPaths(one, 0);
  });

  it("show another tenant nothing", async () => {
    const run = await submitOver("one", [{ id: "own" }]);
    world.startWorker();
    await world.ended("one", run, "completed");
    for (const path of ["", "/trace", "/proof", "/bundle", "/artifacts"]) {
      expect((await ask("two", "GET", `/v1/runs/${run}${path}`)).status, path).toBe(404);
    }
    const listed = await ask("two", "GET", "/v1/runs");
    expect(JSON.stringify(listed.json)).not.toContain(run);
    expect(await world.rowOf("two", run)).toBeUndefined();
    const sealed = await ask("one", "POST", `/v1/runs/${run}/resume`);
    expect(sealed.json).toMatchObject({ code: "ERR_RUN_SEALED" });
  });

  it("are not believed where a table says otherwise: the proof says where", async () => {
    const run = await submitOver("three", [{ id: "told" }]);
    world.startWorker();
    await world.ended("three", run, "completed");
    await world.provedOnce("three", run, ["told"]);
    const change = "update sovereign.trace_steps set output = $2 where run_id = $1 returning 1";
    // Whoever owns the database gets past its triggers.
    await world.query("set session_replication_role = replica");
    expect(await world.query(change, [run, '{"value":{"status":500}}'])).toHaveLength(1);
    const proof = await ask("three", "GET", `/v1/runs/${run}/proof`);
    const failed = { verification_status: "FAILED", place: "trace_steps[0].output" };
    expect(proof.json).toMatchObject({ integrity: failed });
    const words = ["runs", "proof", run, "--tenant", "three"];
    expect(await world.installation.run(words, world.env)).toMatchObject({ code: 4 });
  });

  it("ask a person again where a run is left to them that waits for one", async () => {
    const run = await submitOver("four", [{ id: "once-held", with: { method: "POST" } }]);
    world.hold();
    const worker = world.startWorker();
    await until("the step", () => world.asked.includes("/four/once-held"));
    worker.kill("SIGKILL");
    world.answerAll();
    world.startWorker();
    await world.ended("four", run, "pending");
    expect((await ask("four", "POST", `/v1/runs/${run}/resume`)).status).toBe(202);
    const asked = "select occurrences::int from sovereign.incidents where kind = 'unknown_outcome'";
    await until(
      "the second question",
      async () => (await world.query(asked))[0]?.["occurrences"] === 2,
    );
    await world.ended("four", run, "pending");
    expect(world.asked.filter((path) => path === "/four/once-held")).toHaveLength(1);
  });
});
