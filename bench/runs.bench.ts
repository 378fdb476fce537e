import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChildProcess } from "node:child_process";
import { askAt } from "../packages/runtime/test/support/api-rig.ts";
import { endOf, Installation, type Json } from "../test/e2e/cli.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const TENANTS = ["large", "small"] as const;
type Tenant = (typeof TENANTS)[number];

/**
 * Runs of goals, from the request to the end: what the API takes, how soon a worker begins, how many
 * runs workers carry out, and what a tenant with few runs notices of one with many.
 * `npm run bench runs -- --runs=24 --backlog=200`.
 */
export async function run(): Promise<BenchReport> {
  const world = new RunsWorld();
  await world.open();
  try {
    const rows = [...(await api(world)), await firstStep(world)];
    for (const workers of [1, 2, 4]) rows.push(await throughput(world, workers));
    rows.push(...(await turns(world)), ...(await proofs(world)));
    return { title: "Runs of goals (milliseconds where nothing else is said)", rows };
  } finally {
    await world.close();
  }
}

async function api(world: RunsWorld): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const known = await world.submit("large", 1);
  const status = async (): Promise<void> => {
    const { json } = await world.ask("large", "GET", `/v1/runs/${known}`);
    if (json["run_id"] !== known) throw new Error(`no run: ${JSON.stringify(json)}`);
  };
  const bare = await timed(200, 1, () => world.ask(null, "GET", "/healthz"));
  const submit = (): Promise<unknown> => world.submit("large", 1);
  for (const at of [1, 50])
    rows.push(row(`status, ${at} at once`, await timed(400, at, status), bare));
  // More of one tenant's at once are told to come again.
  for (const at of [1, 4])
    rows.push(row(`submit, ${at} at once`, await timed(40, at, submit), bare));
  await world.startWorkers(2);
  await world.drained();
  await world.stopWorkers();
  return rows;
}

/** From the request that submits to the request that the first step makes. */
async function firstStep(world: RunsWorld): Promise<BenchRow> {
  await world.startWorkers(1);
  const took: number[] = [];
  for (let trial = 0; trial < 22; trial++) {
    const began = performance.now();
    const run = await world.submit("small", 1);
    await world.asked(run);
    took.push(performance.now() - began);
    await world.drained();
  }
  await world.stopWorkers();
  return row("submit to first step", took.slice(2));
}

async function throughput(world: RunsWorld, workers: number): Promise<BenchRow> {
  const [runs, steps] = [argument("runs", 24), 5];
  for (let at = 0; at < runs; at++) await world.submit("large", steps);
  await world.startWorkers(workers);
  // The first run ends when all of them are warm.
  const [from] = await world.endings(1);
  const to = (await world.endings(runs)).at(-1);
  await world.stopWorkers();
  const perSecond = ((runs - 1) * 1000) / ((to ?? 0) - (from ?? 0));
  const values = { "runs/s": round(perSecond), "steps/s": round(perSecond * steps) };
  return { name: `${workers} worker${workers === 1 ? "" : "s"}, runs of ${steps} steps`, values };
}

/** How long a small tenant's ten runs take, alone and behind another's backlog. */
async function turns(world: RunsWorld): Promise<BenchRow[]> {
  const backlog = argument("backlog", 200);
  const ten = async (): Promise<number[]> => {
    const began = performance.now();
    const runs: string[] = [];
    for (let at = 0; at < 10; at++) runs.push(await world.submit("small", 1));
    const ends = await Promise.all(runs.map((run) => world.ended(run)));
    return ends.map((end) => end - began);
  };
  await world.startWorkers(2);
  const alone = await ten();
  await world.stopWorkers();
  for (let at = 0; at < backlog; at++) await world.submit("large", 1);
  await world.startWorkers(2);
  const beside = await ten();
  await world.stopWorkers();
  const ratio = round(quantiles(beside).p99 / quantiles(alone).p99);
  return [
    row("ten runs of a tenant, alone", alone),
    {
      name: `ten runs of a tenant beside ${backlog} of another`,
      values: { ...row("", beside).values, "p99 ratio": ratio },
    },
  ];
}

async function proofs(world: RunsWorld): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  await world.startWorkers(1);
  for (const steps of [10, 100]) {
    const run = await world.submit("small", steps);
    await world.ended(run);
    const took = await timed(10, 1, () => world.proof("small", run));
    rows.push(row(`proof of ${steps} steps, a whole command`, took));
  }
  await world.stopWorkers();
  return rows;
}

async function timed(count: number, at: number, work: () => Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const began = performance.now();
      await work();
      took.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: at }, one));
  return took;
}

function row(name: string, took: readonly number[], bare?: readonly number[]): BenchRow {
  const { p50, p99, max } = quantiles(took);
  const values = { p50: round(p50), p99: round(p99), max: round(max) };
  if (bare === undefined) return { name, values };
  return {
    name,
    values: { ...values, "p50 ratio to a bare request": round(p50 / quantiles(bare).p50) },
  };
}

function argument(name: string, otherwise: number): number {
  const given = process.argv.find((word) => word.startsWith(`--${name}=`));
  return given === undefined ? otherwise : Number(given.slice(name.length + 3));
}

/** A server without a worker, tenants with tokens, workers, and a server that steps call. */
class RunsWorld {
  readonly #installation = new Installation();
  readonly #asked = new Set<string>();
  readonly #tokens = new Map<Tenant, string>();
  readonly #target: Server;
  readonly #children = new Set<ChildProcess>();
  readonly #open = new Map<string, Tenant>();
  readonly #ends = new Map<string, number>();
  readonly #marks = new Map<string, string>();
  #workers: ChildProcess[] = [];
  #endings: number[] = [];
  #url = "";
  #count = 0;

  constructor() {
    this.#target = createServer((request, response) => {
      this.#asked.add((request.url ?? "").split("/")[1] ?? "");
      response.end("ok");
    });
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#target.listen(0, "127.0.0.1", resolve));
    await this.#must("keys", "init");
    mkdirSync(join(this.#installation.home, "policies"));
    const operations = [{ type: "skill.http_call", resources: [this.#host] }];
    for (const tenant of TENANTS) {
      const words = ["--scope", "runs:read", "runs:write", "--expires", "12h"];
      const created = await this.#must("tokens", "create", "--tenant", tenant, ...words);
      this.#tokens.set(tenant, String(created["token"]));
      const policy = { policy_id: tenant, schema_version: "1.0.0", operations };
      const path = join(this.#installation.home, "policies", `${tenant}.yaml`);
      writeFileSync(path, JSON.stringify(policy));
    }
    const words = ["serve", "--listen", "127.0.0.1:0", "--no-worker", "--rate", "10000"];
    const told = this.#start(words);
    this.#url = await told((line) => (line["event"] === "listening" ? String(line["url"]) : null));
  }

  get #host(): string {
    return `127.0.0.1:${(this.#target.address() as AddressInfo).port}`;
  }

  ask(
    tenant: Tenant | null,
    method: string,
    path: string,
    body?: unknown,
  ): ReturnType<typeof askAt> {
    const token = tenant === null ? null : (this.#tokens.get(tenant) ?? null);
    return askAt(this.#url, token, method, path, body === undefined ? {} : { body });
  }

  async submit(tenant: Tenant, steps: number): Promise<string> {
    const mark = `r${this.#count++}`;
    const plan = {
      steps: Array.from({ length: steps }, (_, at) => ({
        id: `s${at}`,
        skill: "http_call",
        with: { url: `http://${this.#host}/${mark}/${at}` },
        ...(at === 0 ? {} : { needs: [`s${at - 1}`] }),
      })),
    };
    const body = { goal: "call a server", agent_id: "bot", plan };
    const { status, json } = await this.ask(tenant, "POST", "/v1/runs", body);
    if (status >= 300) throw new Error(`not submitted: ${JSON.stringify(json)}`);
    const run = String(json["run_id"]);
    this.#open.set(run, tenant);
    this.#marks.set(run, mark);
    return run;
  }

  /** The run's first step has called the server. */
  async asked(run: string): Promise<void> {
    while (!this.#asked.has(this.#marks.get(run) ?? "")) await sleep(1);
  }

  async startWorkers(count: number): Promise<void> {
    this.#endings = [];
    const ready = Array.from({ length: count }, () => {
      const told = this.#start(["worker"], (line) => {
        this.#note(line);
      });
      return told((line) => (line["event"] === "worker.started" ? true : null));
    });
    await Promise.all(ready);
  }

  #note(line: Json): void {
    const run = line["run"];
    if (line["event"] !== "worker.ended" || typeof run !== "string") return;
    if (line["status"] !== "completed") throw new Error(JSON.stringify(line));
    const now = performance.now();
    this.#endings.push(now);
    this.#ends.set(run, now);
    this.#open.delete(run);
  }

  async stopWorkers(): Promise<void> {
    const ends = this.#workers.map((child) => endOf(child));
    for (const child of this.#workers) child.kill("SIGTERM");
    await Promise.all(ends);
    this.#workers = [];
  }

  async endings(count: number): Promise<number[]> {
    while (this.#endings.length < count) await sleep(5);
    return this.#endings;
  }

  async ended(run: string): Promise<number> {
    for (;;) {
      const at = this.#ends.get(run);
      if (at !== undefined) return at;
      await sleep(5);
    }
  }

  async drained(): Promise<void> {
    while (this.#open.size > 0) await sleep(5);
  }

  async proof(tenant: Tenant, run: string): Promise<void> {
    const end = await this.#installation.run(["runs", "proof", run, "--tenant", tenant]);
    if (end.code !== 0) throw new Error(end.out + end.err);
  }

  async #must(...words: string[]): Promise<Json> {
    const { code, documents } = await this.#installation.json(words);
    if (code !== 0) throw new Error(`${words.join(" ")}: ${JSON.stringify(documents)}`);
    return documents[0] ?? {};
  }

  #start(words: string[], note: (line: Json) => void = () => undefined) {
    const child = this.#installation.start([...words, "--json"]);
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    if (words[0] === "worker") this.#workers.push(child);
    const lines: Json[] = [];
    let rest = "";
    child.stdout?.on("data", (chunk) => {
      const parts = (rest + String(chunk)).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const line = JSON.parse(part) as Json;
        lines.push(line);
        note(line);
      }
    });
    return async <T>(wanted: (line: Json) => T | null): Promise<T> => {
      for (;;) {
        for (const line of lines) {
          const found = wanted(line);
          if (found !== null) return found;
        }
        if (child.exitCode !== null) throw new Error(`${words.join(" ")} ended`);
        await sleep(5);
      }
    };
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    this.#target.closeAllConnections();
    this.#target.close();
    await this.#installation.dispose();
  }
}
