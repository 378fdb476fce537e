/**
 * A throw-away installation as a user has it: the real command line, each command a process of its own,
 * the embedded PostgreSQL, and servers on loopback for what steps call. Nothing else is reached.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { type JsonObject, type LedgerEntry, parseStrictJson } from "@sovereign/core";
import pg from "pg";
import { SovereignClient, type Submission } from "../../packages/client/src/index.ts";
import {
  ownerConfig,
  startEmbedded,
  stopEmbedded,
} from "../../packages/runtime/src/store/embedded.ts";
import { ScriptedModel } from "../agent/scripted-model.ts";

export const TENANT = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
/** Whose ledger is damaged for good. */
export const OTHER_TENANT = "guarded";
export const ORIGIN = "run-proof-v4";
export const AGENT = "46f4830d-e2e0-4a0a-aba4-d2741abd2ae1";
const MODEL_KEY = "sk-of-the-vendor";
const SENTENCE = "Speak like a human.";

const BIN = resolve(import.meta.dirname, "../../packages/runtime/bin/sovereign.js");
const VERIFIER = resolve(import.meta.dirname, "../../packages/verify/bin/sovereign-verify.js");

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  /** Lines of the output that are JSON. */
  readonly documents: readonly JsonObject[];
}

/** A run as both doors tell of it. */
export interface Ran {
  /** Null where it was refused before there was one. */
  readonly run: string | null;
  readonly status: string;
  readonly code: string | null;
}

export class Place {
  readonly folder: string = mkdtempSync(join(tmpdir(), "acceptance-"));
  readonly home: string = join(this.folder, "data");
  /** What the server was asked for, such as `GET /zen`. */
  readonly asked: string[] = [];
  /** Done once, before such a request is answered. */
  readonly meanwhile = new Map<string, () => Promise<unknown>>();
  readonly #searchPath: string;
  readonly #server: Server;
  readonly #children = new Set<ChildProcess>();
  #model: ScriptedModel | null = null;
  #owner: pg.Client | null = null;
  #stopDatabase: () => Promise<void> = () => Promise.resolve();
  #client: SovereignClient | null = null;

  private constructor(searchPath: string) {
    this.#searchPath = searchPath;
    mkdirSync(this.home, { mode: 0o700 });
    this.#server = createServer((request, response) => {
      const asked = `${request.method ?? ""} ${request.url ?? ""}`;
      this.asked.push(asked);
      // Two answers to the same request are the same bytes.
      response.sendDate = false;
      const meanwhile = this.meanwhile.get(asked)?.();
      this.meanwhile.delete(asked);
      void Promise.resolve(meanwhile).finally(() => {
        if (request.url?.startsWith("/broken") === true) response.writeHead(500).end("broken");
        else response.writeHead(200, { "content-type": "text/plain" }).end(SENTENCE);
      });
    });
  }

  /** @param searchPath where commands look for programs, such as the sandbox's */
  static async open(searchPath: string): Promise<Place> {
    const place = new Place(searchPath);
    try {
      await place.#open();
      return place;
    } catch (error) {
      await place.close();
      throw error;
    }
  }

  async #open(): Promise<void> {
    await new Promise<void>((ready) => this.#server.listen(0, "127.0.0.1", ready));
    this.#model = await ScriptedModel.start({ script: () => ({ text: "ok" }), key: MODEL_KEY });
    const folder = join(this.home, "postgres");
    const target = await startEmbedded(folder);
    this.#owner = new pg.Client(ownerConfig(target));
    this.#owner.on("error", () => undefined);
    await this.#owner.connect();
    this.#stopDatabase = async () => {
      await stopEmbedded(target, folder);
    };
    const operations = [
      { type: "skill.http_call", resources: [this.host] },
      { type: "skill.llm_invoke", resources: ["local/*"] },
      { type: "llm.call", resources: ["local/*"] },
      { type: "skill.__sdsr_fail_trigger__", resources: ["nothing"] },
    ];
    const policy = { policy_id: "acceptance", schema_version: "1.0.0", operations };
    mkdirSync(join(this.home, "policies"));
    for (const tenant of [TENANT, OTHER_TENANT])
      this.write(join(this.home, "policies", `${tenant}.yaml`), policy);
    const keyFile = join(this.folder, "key");
    writeFileSync(keyFile, MODEL_KEY, { mode: 0o600 });
    const vendor = ["--kind", "anthropic-compatible", "--base-url", this.#model.url];
    await this.type("models", "add", "local", ...vendor, "--key-file", keyFile, "--price", "3,15");
    // The first command that opens the ledger makes it.
    await this.type("runs", "list");
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  write(path: string, value: object): string {
    writeFileSync(path, JSON.stringify(value), { mode: 0o600 });
    return path;
  }

  /** Type a command, with --json. */
  type(...words: readonly string[]): Promise<Ended> {
    return this.#end(this.#start(BIN, [...words, "--json"]));
  }

  #start(program: string, words: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [program, ...words], {
      cwd: this.folder,
      env: { PATH: this.#searchPath, HOME: homedir(), SOVEREIGN_HOME: this.home },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.add(child);
    return child;
  }

  #end(child: ChildProcess): Promise<Ended> {
    let out = "";
    child.stdout?.on("data", (part: Buffer) => (out += String(part)));
    child.stderr?.on("data", (part: Buffer) => (out += String(part)));
    return new Promise((done) => {
      child.on("close", (code) => {
        this.#children.delete(child);
        done({ code, out, documents: documentsIn(out) });
      });
    });
  }

  /** Submit on the command line, and wait for the end. */
  async run(
    goal: Submission,
    { tenant = TENANT, more = [] }: { readonly tenant?: string; readonly more?: string[] } = {},
  ): Promise<Ran & { readonly ended: Ended }> {
    const { agent_id, origin_system_id, plan } = goal;
    const planned =
      plan === undefined
        ? ["--planner", "stub"]
        : ["--plan", this.write(join(this.folder, "plan.json"), plan)];
    const origin = origin_system_id === undefined ? [] : ["--origin-system-id", origin_system_id];
    const who = ["--tenant-id", tenant, "--agent-id", agent_id, ...origin];
    const ended = await this.type("run", ...who, "--goal", goal.goal, ...planned, ...more);
    const last = ended.documents.at(-1) ?? {};
    if (last["event"] === "run.ended") return { ...ranOf(last, last["run"]), ended };
    const { code = null } = (last["error"] ?? {}) as { code?: string };
    return { run: null, status: "refused", code, ended };
  }

  /** Submit over HTTP, and wait for the end. */
  async submit(goal: Submission): Promise<Ran> {
    const client = (this.#client ??= await this.#serve());
    let run: string;
    try {
      ({ run_id: run } = await client.submit(goal));
    } catch (error) {
      const { code = null } = error as { code?: string };
      if (code === null) throw error;
      return { run: null, status: "refused", code };
    }
    for await (const { type } of client.follow(run)) if (type === "run.sealed") break;
    for (;;) {
      const shown = await client.call("showRun", { params: { run } });
      if (shown.published || shown.status === "pending")
        return { run, status: shown.status, code: null };
      await new Promise((later) => setTimeout(later, 50));
    }
  }

  async #serve(): Promise<SovereignClient> {
    const scopes = ["runs:write", "runs:read", "evidence:read"];
    const made = await this.type("tokens", "create", "--tenant", TENANT, "--scope", ...scopes);
    const child = this.#start(BIN, ["serve", "--listen", "127.0.0.1:0", "--json"]);
    if (child.stdout === null) throw new Error("it has no output");
    for await (const line of createInterface(child.stdout)) {
      const { event, url } = parseStrictJson(Buffer.from(line)) as JsonObject;
      if (event !== "listening") continue;
      child.stdout.resume();
      return new SovereignClient({
        url: textOf(url),
        token: textOf(made.documents[0]?.["token"]),
      });
    }
    throw new Error("sovereign serve has ended");
  }

  /** Whether an offline verifier finds a run's evidence valid, with the keys that the run published. */
  async verify(run: string): Promise<{ readonly code: number | null; readonly verdict: string }> {
    const folder = join(this.home, "runs", run);
    const bundle = join(folder, "compliance_bundle.json");
    const words = [`--bundle=${bundle}`, `--trust=${join(folder, "trust-root.json")}`, "--json"];
    const { code, documents } = await this.#end(this.#start(VERIFIER, words));
    return { code, verdict: textOf(documents.at(-1)?.["verdict"]) };
  }

  /** The entries of a run that has ended, as its evidence has them. */
  entriesOf(run: string): LedgerEntry[] {
    const bytes = readFileSync(join(this.home, "runs", run, "compliance_bundle.json"));
    const { entries } = parseStrictJson(bytes) as unknown as { entries: { entry: LedgerEntry }[] };
    return entries.map(({ entry }) => entry);
  }

  /** Ask the database as its owner, whom no row is hidden from. */
  async rows(sql: string, ...values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    if (this.#owner === null) throw new Error("the database is not open");
    return (await this.#owner.query<Record<string, unknown>>(sql, [...values])).rows;
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill("SIGTERM");
    for (const child of [...this.#children])
      if (child.exitCode === null) await new Promise((ended) => child.on("close", ended));
    await this.#model?.close();
    this.#server.closeAllConnections();
    this.#server.close();
    await this.#owner?.end();
    await this.#stopDatabase();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

function ranOf(said: JsonObject, run: unknown): Ran {
  const { status, code } = said;
  const isText = typeof code === "string";
  return { run: textOf(run), status: textOf(status), code: isText ? code : null };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "none";
}

function documentsIn(out: string): JsonObject[] {
  return out
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => parseStrictJson(Buffer.from(line)) as JsonObject);
}
