import { type ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { askAt } from "../packages/runtime/test/support/api-rig.ts";
import {
  type Pooler,
  type PostgresServer,
  startPooler,
  startPostgres,
} from "../packages/runtime/test/support/postgres-server.ts";
import { endOf, Installation, type Json } from "../test/e2e/cli.ts";
import { listening } from "../test/e2e/listening.ts";
import {
  judge,
  type Judged,
  type Submitted,
  SuperuserLook,
  UNSAFE,
} from "./workers-chaos-judge.ts";

/** How often each thing is done to a system at work. */
interface Disturbances {
  readonly kills: number;
  /** Workers that stand still for longer than their lease. */
  readonly halts: number;
  readonly databaseKills: number;
  readonly poolerRestarts: number;
}
type Disturbance = keyof Disturbances;

/** How much of what happens. */
export interface Chaos extends Disturbances {
  /** Every third of them is on another node. */
  readonly workers: number;
  readonly tenants: number;
  readonly runs: number;
}

export interface ChaosFigures extends Disturbances, Judged {
  /** Runs that waited for a person, because a lost step must not happen twice. */
  readonly asked: number;
  /** Requests that the steps made, of which some are repeats. */
  readonly requests: number;
  readonly seconds: number;
}

const LEASE_SECONDS = 10;
const STEPS = ["a", "b", "c", "d", "e"];
/** After so long without an end of a run the next disturbance comes all the same. */
const STALL_MS = 60_000;
const END_MS = 600_000;
const POLL_MS = 500;

/** Workers of two nodes behind a pooler, which are killed and halted while runs wait. */
export class WorkersChaos {
  readonly #near = new Installation();
  readonly #far = new Installation();
  readonly #chaos: Chaos;
  readonly #workers = new Map<ChildProcess, Installation>();
  readonly #say: (text: string) => void;
  #database: PostgresServer | null = null;
  #pooler: Pooler | null = null;
  #look = new SuperuserLook("");
  #requests = 0;

  constructor(chaos: Chaos, say: (text: string) => void = () => undefined) {
    this.#chaos = chaos;
    this.#say = say;
  }

  async run(): Promise<ChaosFigures> {
    const target = createServer((_request, response) => {
      this.#requests += 1;
      setTimeout(() => response.end("ok"), randomInt(20, 200));
    });
    await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
    try {
      return await this.#runAgainst(`127.0.0.1:${(target.address() as AddressInfo).port}`);
    } finally {
      target.closeAllConnections();
      target.close();
    }
  }

  async #runAgainst(host: string): Promise<ChaosFigures> {
    await this.#startDatabase();
    await this.#cli("keys", "init");
    const submitted = await this.#submitAll(host);
    await this.#joinFar();
    const began = performance.now();
    const done = await this.#disturbAll();
    const left = await this.#untilLeft(0, END_MS);
    if (left > 0) throw new Error(`${left} runs do not come to an end`);
    const asked = await this.#answerQuestions(submitted);
    const seconds = Math.round((performance.now() - began) / 1000);
    await this.#endWorkers();
    const { env } = this;
    const judged = await judge({ look: this.#look, installation: this.#near, env, submitted });
    return { ...judged, ...done, asked, seconds, requests: this.#requests };
  }

  async close(): Promise<void> {
    await this.#endWorkers();
    await this.#pooler?.stop();
    await this.#database?.stop();
    for (const one of [this.#near, this.#far]) await one.dispose();
  }

  private get env(): Record<string, string> {
    return { DATABASE_URL: this.#pooler?.url ?? "" };
  }

  async #startDatabase(): Promise<void> {
    const folder = join(this.#near.home, "server");
    mkdirSync(folder);
    this.#database = await startPostgres(folder);
    this.#pooler = await startPooler(folder, this.#database);
    this.#look = new SuperuserLook(this.#database.superuser.replace(/\/postgres$/, "/app"));
  }

  async #cli(...args: string[]): Promise<Json[]> {
    const end = await this.#near.run([...args, "--json"], this.env);
    if (end.code !== 0) throw new Error(`${args.join(" ")}: exit ${String(end.code)}: ${end.err}`);
    const lines = end.out.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Json);
  }

  /** Another machine, with the keys that submissions have enrolled by now. */
  async #joinFar(): Promise<void> {
    const file = join(this.#near.home, "exported.json");
    await this.#cli("nodes", "export", file);
    const { code, err } = await this.#far.run(["nodes", "join", file], this.env);
    if (code !== 0) throw new Error(`nodes join: ${err}`);
    cpSync(join(this.#near.home, "keys"), join(this.#far.home, "keys"), { recursive: true });
  }

  get #tenants(): string[] {
    return Array.from({ length: this.#chaos.tenants }, (_, at) => `tenant-${at}`);
  }

  /** One of each tenant by the command line, and all others over HTTP. */
  async #submitAll(host: string): Promise<Submitted[]> {
    const policies = join(this.#near.home, "policies");
    mkdirSync(policies, { recursive: true });
    const operations = [{ type: "skill.http_call", resources: [host] }];
    const policy = { policy_id: "p", schema_version: "1.0.0", operations };
    const submitted: Submitted[] = [];
    const tokens = new Map<string, string>();
    for (const tenant of this.#tenants) {
      writeFileSync(join(policies, `${tenant}.yaml`), JSON.stringify(policy));
      const create = ["tokens", "create", "--tenant", tenant, "--scope", "runs:write"];
      tokens.set(tenant, String((await this.#cli(...create, "--expires", "1d"))[0]?.["token"]));
      const plan = join(this.#near.home, "plan.json");
      writeFileSync(plan, JSON.stringify(planFor(host, tenant)));
      const words = ["run", "--tenant-id", tenant, "--agent-id", "bot", "--goal", "x", "--no-wait"];
      const run = (await this.#cli(...words, "--plan", plan)).at(-1)?.["run"];
      submitted.push({ tenant, run: String(run) });
    }
    const serve = ["serve", "--no-worker", "--listen", "127.0.0.1:0", "--rate", "10000", "--json"];
    const server = this.#near.start(serve, this.env);
    const url = await listening(server);
    while (submitted.length < this.#chaos.runs) {
      const lanes = this.#tenants.slice(0, this.#chaos.runs - submitted.length);
      const answers = await Promise.all(
        lanes.map(async (tenant) => {
          const body = { goal: "x", agent_id: "bot", plan: planFor(host, tenant) };
          const answer = await askAt(url, tokens.get(tenant) ?? "", "POST", "/v1/runs", { body });
          if (answer.status !== 202) throw new Error(`${answer.status}: ${answer.text}`);
          return { tenant, run: String(answer.json["run_id"]) };
        }),
      );
      submitted.push(...answers);
      if (submitted.length % 100 < lanes.length) this.#say(`${submitted.length} runs submitted`);
    }
    const closed = once(server, "close");
    server.kill("SIGTERM");
    await closed;
    return submitted;
  }

  /** As many as there should be, the first of them on the other node wherever that has too few. */
  #startWorkers(): void {
    const { workers } = this.#chaos;
    const isFar = (node: Installation): boolean => node === this.#far;
    while (this.#workers.size < workers) {
      const far = [...this.#workers.values()].filter(isFar).length;
      this.#startWorker(far < Math.floor(workers / 3) ? this.#far : this.#near);
    }
  }

  #startWorker(node: Installation): void {
    const args = ["worker", "--lease-seconds", String(LEASE_SECONDS), "--concurrency", "4"];
    const worker = node.start(args, this.env);
    worker.stdout?.resume();
    worker.stderr?.on("data", (chunk) => {
      this.#say(`a worker says: ${String(chunk)}`);
    });
    this.#workers.set(worker, node);
    worker.once("close", () => this.#workers.delete(worker));
  }

  /** Each comes when its part of the runs has ended, so that they meet the whole of the work. */
  async #disturbAll(): Promise<Record<Disturbance, number>> {
    const done = { kills: 0, halts: 0, databaseKills: 0, poolerRestarts: 0 };
    const events = shuffled(this.#chaos);
    for (const [at, event] of events.entries()) {
      await this.#untilLeft(this.#chaos.runs * (1 - at / events.length), STALL_MS);
      await sleep(randomInt(1000, 3000));
      this.#startWorkers();
      await this.#disturb(event);
      done[event] += 1;
      this.#say(`${event} ${done[event]}, ${await this.#left()} runs are left`);
    }
    return done;
  }

  /** Until at most so many runs are left, or none has ended for so long. @returns how many are left */
  async #untilLeft(most: number, patienceMs: number): Promise<number> {
    let left = await this.#left();
    for (let waited = 0; left > most && waited < patienceMs; waited += POLL_MS) {
      this.#startWorkers();
      await sleep(POLL_MS);
      const now = await this.#left();
      if (now < left) waited = 0;
      left = now;
    }
    return left;
  }

  async #disturb(event: Disturbance): Promise<void> {
    const alive = [...this.#workers.keys()];
    const worker = alive[randomInt(alive.length)];
    if (event === "kills") {
      const closed = worker === undefined ? null : once(worker, "close");
      worker?.kill("SIGKILL");
      await closed;
      this.#startWorkers();
    } else if (event === "halts") {
      worker?.kill("SIGSTOP");
      // Others go on with what it had by then; it finds out when it wakes up.
      setTimeout(() => worker?.kill("SIGCONT"), 1.5 * LEASE_SECONDS * 1000);
    } else if (event === "databaseKills") {
      await this.#database?.kill();
      await sleep(randomInt(500, 3000));
      await this.#database?.restart();
    } else {
      await this.#pooler?.stop();
      await sleep(randomInt(200, 1000));
      await this.#pooler?.restart();
    }
  }

  async #left(): Promise<number> {
    const [row] = await this.#look.query<{ left: number }>(
      "select count(*)::int as left from sovereign.queue",
    );
    return row?.left ?? 0;
  }

  /** Whoever is asked says each time that the step is to be done again. */
  async #answerQuestions(submitted: readonly Submitted[]): Promise<number> {
    const waiting = await this.#look.query<{ run_id: string }>(
      "select run_id from sovereign.runs where status = 'pending' and kind = 'goal'",
    );
    const ids = new Set(waiting.map(({ run_id }) => run_id));
    for (const { tenant, run } of submitted.filter((one) => ids.has(one.run))) {
      await this.#cli("run", "resume", run, "--tenant", tenant, "--retry-failed");
    }
    return ids.size;
  }

  async #endWorkers(): Promise<void> {
    const closed = [...this.#workers.keys()].map((worker) => endOf(worker));
    for (const worker of this.#workers.keys()) {
      worker.kill("SIGCONT");
      worker.kill("SIGTERM");
    }
    await Promise.all(closed);
  }
}

function planFor(host: string, tenant: string): object {
  const steps = STEPS.map((id, at) => ({
    id,
    skill: "http_call",
    with: { url: `http://${host}/${tenant}/${id}`, method: id === UNSAFE ? "POST" : "GET" },
    timeout_ms: 60_000,
    needs: at === 0 ? [] : [STEPS[at - 1]],
  }));
  return { steps };
}

function shuffled(chaos: Disturbances): Disturbance[] {
  const names = ["kills", "halts", "databaseKills", "poolerRestarts"] as const;
  const events = names.flatMap((name) => Array.from({ length: chaos[name] }, () => name));
  const keyed = events.map((event) => ({ event, key: randomInt(1_000_000) }));
  return keyed.sort((a, b) => a.key - b.key).map(({ event }) => event);
}
