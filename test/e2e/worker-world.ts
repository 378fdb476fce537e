import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect } from "vitest";
import { ownerConfig, startEmbedded } from "../../packages/runtime/src/store/embedded.ts";
import { Installation, type Json } from "./cli.ts";
import { ok } from "./two-machines.ts";

/** One installation, workers on it, and a server that their steps call. */
export class WorkerWorld {
  readonly installation = new Installation({ processes: "one" });
  readonly env: Record<string, string>;
  /** The paths that were asked for, in order. */
  readonly asked: string[] = [];
  /** Sees each request before it is answered. */
  watch: (request: IncomingMessage, response: ServerResponse) => void = () => undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), "sov-workers-"));
  readonly #server: Server;
  readonly #workers = new Map<ChildProcess, Json[]>();
  readonly #children = new Set<ChildProcess>();
  readonly #nodes: Installation[] = [];
  #held: ServerResponse[] = [];
  #isHeld = false;
  #plans = 0;

  #owner: pg.Client | null = null;

  private constructor(env: Record<string, string>) {
    this.env = env;
    this.#server = createServer((request, response) => {
      const url = request.url ?? "";
      this.asked.push(url);
      this.watch(request, response);
      if (this.#isHeld && url.endsWith("held")) this.#held.push(response);
      else response.end("ok");
    });
  }

  /**
   * @param shared a server of somebody else's, and a connection to it that sees every row
   * @param address of this machine, where steps find the server that they call
   */
  static async open(
    shared: { url: string; owner: string } | null = null,
    address = "127.0.0.1",
  ): Promise<WorkerWorld> {
    const world = new WorkerWorld(shared === null ? {} : { DATABASE_URL: shared.url });
    await ok(world.installation, ["keys", "init"], world.env);
    const owner = new pg.Client(
      shared?.owner ?? ownerConfig(await startEmbedded(join(world.installation.home, "postgres"))),
    );
    owner.on("error", () => undefined);
    await owner.connect();
    world.#owner = owner;
    await new Promise<void>((resolve) => world.#server.listen(0, address, resolve));
    writeFileSync(join(world.#folder, "policy.json"), JSON.stringify(world.policy));
    return world;
  }

  /** Lets steps call the server. */
  get policy(): object {
    const operations = [{ type: "skill.http_call", resources: [this.host] }];
    return { policy_id: "p", schema_version: "1.0.0", operations };
  }

  get host(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `${address}:${port}`;
  }

  /** From now on paths that end in `held` are not answered. */
  hold(): void {
    this.#isHeld = true;
  }

  /** What is asked from now on is answered. */
  answerOthers(): void {
    this.#isHeld = false;
  }

  answerAll(): void {
    this.#isHeld = false;
    for (const response of this.#held.splice(0)) response.end("late");
  }

  /** A plan whose steps call the server, each at its tenant's and its own path. */
  plan(tenant: string, steps: readonly object[]): object {
    const calls = steps.map((step) => {
      const { id, with: given = {} } = step as { id: string; with?: object };
      const url = `http://${this.host}/${tenant}/${id}`;
      return { skill: "http_call", timeout_ms: 120_000, ...step, with: { url, ...given } };
    });
    return { steps: calls };
  }

  /** The words that submit a run of such a plan. */
  submission(tenant: string, steps: readonly object[], ...more: string[]): string[] {
    const plan = join(this.#folder, `plan-${this.#plans++}.json`);
    writeFileSync(plan, JSON.stringify(this.plan(tenant, steps)));
    return [
      ...["run", "--tenant-id", tenant, "--agent-id", "bot", "--goal", "x", "--no-wait", "--json"],
      ...["--plan", plan, "--policy", join(this.#folder, "policy.json"), ...more],
    ];
  }

  async submit(tenant: string, steps: readonly object[], ...more: string[]): Promise<string> {
    const submission = this.submission(tenant, steps, ...more);
    const { code, out, err } = await this.installation.run(submission, this.env);
    if (code !== 0) throw new Error(`exit ${String(code)}: ${err}`);
    const last = JSON.parse(out.trim().split("\n").at(-1) ?? "") as Json;
    expect(last).toMatchObject({ event: "run.ended", status: "queued" });
    return String(last["run"]);
  }

  /** Another machine of the installation, with the keys that there are now: on a shared server. */
  async addNode(
    node: Installation = new Installation({ processes: "one" }),
  ): Promise<Installation> {
    this.#nodes.push(node);
    const file = join(this.#folder, `installation-${this.#nodes.length}.json`);
    await ok(this.installation, ["nodes", "export", file], this.env);
    await ok(node, ["nodes", "join", file], this.env);
    cpSync(join(this.installation.home, "keys"), join(node.home, "keys"), { recursive: true });
    return node;
  }

  /** A command that goes on until it is ended, or this world is. */
  start(args: readonly string[], on = this.installation): ChildProcess {
    const child = on.start(args, this.env);
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    return child;
  }

  startWorker(...more: string[]): ChildProcess {
    return this.startWorkerOn(this.installation, ...more);
  }

  startWorkerOn(node: Installation, ...more: string[]): ChildProcess {
    const lease = more.includes("--lease-seconds") ? [] : ["--lease-seconds", "10"];
    const worker = this.start(["worker", "--json", ...lease, ...more], node);
    const told: Json[] = [];
    let rest = "";
    worker.stdout?.on("data", (chunk) => {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) told.push(JSON.parse(line) as Json);
    });
    worker.stderr?.on("data", (chunk) => told.push({ event: "error", text: String(chunk) }));
    this.#workers.set(worker, told);
    return worker;
  }

  toldBy(worker: ChildProcess): readonly Json[] {
    return this.#workers.get(worker) ?? [];
  }

  async killWorkers(): Promise<void> {
    await this.#kill([...this.#workers.keys()].filter((one) => this.#children.has(one)));
    this.#workers.clear();
  }

  async #kill(children: readonly ChildProcess[]): Promise<void> {
    const closed = children.map((child) => once(child, "close"));
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(closed);
  }

  async #documents(args: readonly string[]): Promise<Json[]> {
    const { out } = await this.installation.run([...args, "--json"], this.env);
    const lines = out.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Json);
  }

  /** What a tenant is told of one of its runs. */
  async rowOf(tenant: string, run: string): Promise<Json | undefined> {
    const rows = await this.#documents(["runs", "list", "--tenant", tenant]);
    return rows.find((row) => row["run"] === run);
  }

  /** Rows as the database has them: asked often, and without a command. */
  async query(sql: string, values: unknown[] = []): Promise<Json[]> {
    if (this.#owner === null) throw new Error("open it first");
    return (await this.#owner.query<Json>(sql, values)).rows;
  }

  async #statusOf(tenant: string, run: string): Promise<unknown> {
    const sql = "select status from sovereign.runs where log_id = $1 and run_id = $2";
    return (await this.query(sql, [tenant, run]))[0]?.["status"];
  }

  async ended(tenant: string, run: string, status: string): Promise<void> {
    await until(
      `${run} of ${tenant} is ${status}`,
      async () => (await this.#statusOf(tenant, run)) === status,
      () => JSON.stringify([...this.#workers.values()]),
    );
  }

  incidents(tenant: string): Promise<Json[]> {
    return this.#documents(["incidents", "list", "--tenant", tenant]);
  }

  async traceOf(tenant: string, run: string): Promise<string> {
    return (await this.installation.run(["runs", "trace", run, "--tenant", tenant], this.env)).out;
  }

  async #steps(tenant: string, run: string): Promise<{ step_id: string; status: string }[]> {
    const [trace] = await this.#documents(["runs", "trace", run, "--tenant", tenant]);
    return (trace?.["steps"] ?? []) as { step_id: string; status: string }[];
  }

  async statusesOf(tenant: string, run: string, step: string): Promise<string[]> {
    const steps = await this.#steps(tenant, run);
    return steps.filter(({ step_id }) => step_id === step).map(({ status }) => status);
  }

  /** Each step is recorded as done once, and the run's evidence holds. */
  async provedOnce(tenant: string, run: string, steps: readonly string[]): Promise<void> {
    const done = (await this.#steps(tenant, run)).filter(({ status }) => status === "completed");
    expect(done.map(({ step_id }) => step_id)).toEqual(steps);
    // It is sealed a moment before its evidence is published.
    await until("the proof", async () => {
      const proof = await this.installation.run(
        ["runs", "proof", run, "--tenant", tenant],
        this.env,
      );
      if (proof.code === 4) throw new Error(proof.out);
      return proof.code === 0;
    });
  }

  async dispose(): Promise<void> {
    await this.#kill([...this.#children]);
    this.#server.closeAllConnections();
    this.#server.close();
    await this.#owner?.end();
    for (const one of [this.installation, ...this.#nodes]) await one.dispose();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  found: () => string = () => "",
): Promise<void> {
  for (let waited = 0; waited < 300_000; waited += 100) {
    if (await holds()) return;
    await sleep(100);
  }
  throw new Error(`it did not come: ${what} ${found()}`);
}
