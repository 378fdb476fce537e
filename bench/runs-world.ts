import type { ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { askAt } from "../packages/runtime/test/support/api-rig.ts";
import { endOf, Installation, type Json } from "../test/e2e/cli.ts";

export const TENANTS = ["large", "small"] as const;
export type Tenant = (typeof TENANTS)[number];

/** A server without a worker, tenants with tokens, workers, and a server that steps call. */
export class RunsWorld {
  readonly #installation = new Installation();
  readonly #asked = new Set<string>();
  readonly #tokens = new Map<Tenant, string>();
  readonly #target: Server;
  readonly #children = new Set<ChildProcess>();
  readonly #open = new Map<string, Tenant>();
  readonly #ends = new Map<string, number>();
  readonly #marks = new Map<string, string>();
  #server: ChildProcess | null = null;
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
    const operations = [
      { type: "skill.http_call", resources: [this.#host] },
      { type: "skill.kv_store", resources: ["count*"] },
    ];
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

  /** A run of steps that call the server, one after the other. */
  submit(tenant: Tenant, steps: number): Promise<string> {
    const mark = `r${this.#count++}`;
    const calls = Array.from({ length: steps }, (_, at) => ({
      id: `s${at}`,
      skill: "http_call",
      with: { url: `http://${this.#host}/${mark}/${at}` },
      ...(at === 0 ? {} : { needs: [`s${at - 1}`] }),
    }));
    return this.#submit(tenant, mark, calls);
  }

  /** A run of one step that keeps a value, and starts no process. */
  submitValue(tenant: Tenant): Promise<string> {
    const mark = `r${this.#count++}`;
    const put = { operation: "put", key: `count${this.#count % 100}`, value: mark };
    return this.#submit(tenant, mark, [{ id: "s0", skill: "kv_store", with: put }]);
  }

  async #submit(tenant: Tenant, mark: string, steps: readonly object[]): Promise<string> {
    const plan = { steps };
    const body = { goal: "do what the plan says", agent_id: "bot", plan };
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

  /** What the server and the workers hold in memory, in MiB. */
  memory(): { readonly server: number; readonly workers: number } {
    const workers = this.#workers.map((child) => residentMiB(child));
    return {
      server: this.#server === null ? 0 : residentMiB(this.#server),
      workers: workers.reduce((sum, one) => sum + one, 0),
    };
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
    else this.#server = child;
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

function residentMiB({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid ?? 0}/status`, "utf8");
  return Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
}
