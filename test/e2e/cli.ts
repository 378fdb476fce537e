import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { copyCluster } from "../../packages/runtime/test/support/prepared.ts";

export interface CliEnd {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A throw-away installation, driven through the real command line. */
export class Installation {
  readonly home = mkdtempSync(join(tmpdir(), "sov-e2e-"));
  #cluster: "copied" | "made";

  /** @param cluster whether the first command finds a database cluster, or makes one as a user's does */
  constructor(cluster: "copied" | "made" = "copied") {
    this.#cluster = cluster;
  }

  start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
    if (this.#cluster === "copied" && !("DATABASE_URL" in env || "SOVEREIGN_HOME" in env)) {
      this.#cluster = "made";
      copyCluster(join(this.home, "postgres"));
    }
    return spawn(process.execPath, [resolve("packages/runtime/bin/sovereign.js"), ...args], {
      env: { PATH: process.env["PATH"], HOME: this.home, SOVEREIGN_HOME: this.home, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  run(args: readonly string[], env: Record<string, string> = {}): Promise<CliEnd> {
    return endOf(this.start(args, env));
  }

  /** Run with --json; the documents of standard output. */
  async json(args: readonly string[]): Promise<{ code: number | null; documents: Json[] }> {
    const { code, out } = await this.run([...args, "--json"]);
    const lines = out.split("\n").filter((line) => line !== "");
    return { code, documents: lines.map((line) => JSON.parse(line) as Json) };
  }

  /** Not `rmSync`: one name after the other takes seconds where a disk discards at once. */
  async dispose(): Promise<void> {
    // The sentinel and the server end a moment after the last command, and write until then.
    await rm(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
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
