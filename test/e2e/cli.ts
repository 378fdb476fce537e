import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { ScramLink } from "../../packages/runtime/src/scram/index.ts";
import {
  ownerConfig,
  startEmbedded,
  stopEmbedded,
} from "../../packages/runtime/src/store/embedded.ts";
import { copyCluster } from "../../packages/runtime/test/support/prepared.ts";

export interface CliEnd {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Options {
  /** Whether the first command finds a database cluster, or makes one as a user's does. */
  readonly cluster?: "copied" | "made";
  /**
   * Whether each command that is run to its end has a process of its own, as a user's, or all have one,
   * which saves half of the time of a short one.
   */
  readonly processes?: "each" | "one";
  /** A program and its words that start each process, such as one that puts it into a namespace. */
  readonly within?: readonly string[];
  /** What each command has in its environment, whatever it is given. */
  readonly env?: Record<string, string>;
  /** Whether the database server stays between commands, or each starts it and stops it, as a user's. */
  readonly server?: "kept" | "started";
}

const NOT_KEPT = Promise.resolve(null);

/** A throw-away installation, driven through the real command line. */
export class Installation {
  readonly home = mkdtempSync(join(tmpdir(), "sov-e2e-"));
  readonly #options: Options;
  #cluster: boolean;
  #host: CliHost | null = null;
  #server: Promise<(() => Promise<void>) | null> | null = null;

  constructor(options: Options = {}) {
    this.#options = options;
    this.#cluster = options.cluster === "made";
  }

  start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
    this.#prepare(env);
    // What is loaded before a command changes modules of the sources: those run then, not what was
    // joined of them.
    const program = "NODE_OPTIONS" in env ? "src/main/cli.ts" : "bin/sovereign.js";
    const { within = [] } = this.#options;
    const words = [...within, process.execPath, resolve("packages/runtime", program), ...args];
    return spawn(words[0] ?? "", words.slice(1), {
      env: this.#environment(env),
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  async run(args: readonly string[], env: Record<string, string> = {}): Promise<CliEnd> {
    this.#prepare(env);
    if (this.#options.server !== "started" && this.#isOurs(env))
      await (this.#server ??= this.#keepServer().catch(() => null));
    if (this.#options.processes !== "one") return endOf(this.start(args, env));
    this.#host ??= new CliHost();
    return this.#host.run(args, this.#environment(env));
  }

  #environment(env: Record<string, string>): Record<string, string> {
    const PATH = process.env["PATH"] ?? "";
    return { PATH, HOME: this.home, SOVEREIGN_HOME: this.home, ...env, ...this.#options.env };
  }

  #prepare(env: Record<string, string>): void {
    if (this.#cluster || !this.#isOurs(env)) return;
    this.#cluster = true;
    copyCluster(join(this.home, "postgres"));
  }

  /** Whether a command uses the cluster that was copied. */
  #isOurs(env: Record<string, string>): boolean {
    return this.#options.cluster !== "made" && !("DATABASE_URL" in env || "SOVEREIGN_HOME" in env);
  }

  /**
   * Use the server until the end: else each command starts it and stops it again, which takes longer
   * than most of what it does. One that a test kills is the commands' own from then on.
   */
  async #keepServer(): Promise<() => Promise<void>> {
    const folder = join(this.home, "postgres");
    const target = await startEmbedded(folder);
    const client = new pg.Client(ownerConfig(target));
    client.on("error", () => {
      this.#server = NOT_KEPT;
    });
    await client.connect();
    return async () => {
      await client.end();
      await stopEmbedded(target, folder);
    };
  }

  /** Run with --json; the documents of standard output. */
  async json(args: readonly string[]): Promise<{ code: number | null; documents: Json[] }> {
    const { code, out } = await this.run([...args, "--json"]);
    const lines = out.split("\n").filter((line) => line !== "");
    return { code, documents: lines.map((line) => JSON.parse(line) as Json) };
  }

  /** Not `rmSync`: one name after the other takes seconds where a disk discards at once. */
  async dispose(): Promise<void> {
    await this.#host?.end();
    await (await this.#server)?.();
    // The sentinel and the server end a moment after the last command, and write until then.
    await rm(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** Until so many paths are on the list of an installation's sentinel, which is asked directly. */
export async function untilPaths({ home }: Installation, paths: number): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 20) {
    if ((await pathsOf(join(home, "scram"))) === paths) return;
    await sleep(20);
  }
  throw new Error(`there are not ${paths} paths`);
}

/** How many paths are on the sentinel's list. Null while no sentinel answers. */
export async function pathsOf(folder: string): Promise<number | null> {
  const link = existsSync(folder) ? await ScramLink.find(folder) : null;
  try {
    const status = await link?.request({ t: "status" });
    return status === undefined ? null : (status as { paths: number }).paths;
  } catch {
    return null;
  } finally {
    link?.close();
  }
}

/** One process for many command lines, one after the other. */
class CliHost {
  readonly #child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      ...["--require", resolve("packages/runtime/bin/compile-cache.js")],
      resolve("test/e2e/cli-host.ts"),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  readonly #answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  #last: Promise<unknown> = Promise.resolve();

  run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<CliEnd> {
    const answered = this.#last.then(async () => {
      this.#child.stdin.write(`${JSON.stringify({ args, env })}\n`);
      const { value, done } = await this.#answers.next();
      if (done === true) throw new Error(`the command line ended: ${args.join(" ")}`);
      return JSON.parse(value) as CliEnd;
    });
    this.#last = answered.catch(() => undefined);
    return answered;
  }

  async end(): Promise<void> {
    await this.#last;
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, "exit");
  }
}

export type Json = Record<string, unknown>;

export function endOf(child: ChildProcess): Promise<CliEnd> {
  let out = "";
  let err = "";
  child.stdout?.on("data", (chunk) => (out += String(chunk)));
  child.stderr?.on("data", (chunk) => (err += String(chunk)));
  return new Promise((end) => {
    child.on("close", (code) => {
      end({ code, out, err });
    });
  });
}

/** The last document of a run with --json. */
export function runEnded(documents: readonly Json[]): {
  run: string;
  status: string;
  verdict: string | null;
  bundle: string;
  trust_root: string;
  code: string | null;
} {
  const last = documents.at(-1);
  if (last?.["event"] !== "run.ended") throw new Error(`no run.ended: ${JSON.stringify(last)}`);
  return last as ReturnType<typeof runEnded>;
}

/** A batch whose one command lives for ten minutes, and its policy. @returns the batch file's path */
export function writeLongBatch(folder: string): string {
  const commands = [{ id: "sleep", executable: "sleep", allowed_args: ["*"] }];
  const policy = { policy_id: "p", schema_version: "1.0.0", allowlist: { commands } };
  writeFileSync(join(folder, "policy.json"), JSON.stringify(policy));
  const actions = [{ id: "sleep", argv: ["sleep", "600"] }];
  const batch = { schema_version: "1.0.0", batch_id: "long", policy: "policy.json", actions };
  const path = join(folder, "batch.json");
  writeFileSync(path, JSON.stringify(batch));
  return path;
}
