import { type ChildProcess, fork } from "node:child_process";
import { generateKeyPairSync, randomInt, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalize,
  openCheckpoint,
  parseCanonicalJson,
  parsePublicKey,
  utf8Encode,
} from "@sovereign/core";
import { verifyAudit } from "@sovereign/verify";
import { Store } from "../packages/runtime/src/store/index.ts";
import type { BenchReport } from "./report.ts";

/** kill -9 of the writer and of the server at random instants until enough was acknowledged. */
export async function run(): Promise<BenchReport> {
  const result = await crash(200_000);
  return {
    title: "kill -9 of writer and server at random instants",
    rows: [{ name: "all", values: { ...result, treeMatches: String(result.treeMatches) } }],
  };
}

export interface CrashResult {
  readonly acknowledged: number;
  readonly stored: number;
  readonly lost: number;
  readonly writerKills: number;
  readonly serverKills: number;
  readonly audit: string;
  readonly treeMatches: boolean;
}

export async function crash(
  target: number,
  pauseMs: [number, number] = [300, 2500],
): Promise<CrashResult> {
  const home = mkdtempSync(join(tmpdir(), "sov-crash-"));
  const folder = join(home, "pg");
  const heads = join(home, "heads");
  const best = new Map<string, number>();
  let [writerKills, serverKills] = [0, 0];
  const total = (): number => [...best.values()].reduce((sum, count) => sum + count, 0);
  let writer = start(folder, heads, best);
  while (total() < target) {
    const before = total();
    await new Promise((resolve) => setTimeout(resolve, randomInt(...pauseMs)));
    // A kill before anything was written shows nothing.
    if (total() === before) continue;
    if ((writerKills + serverKills) % 2 === 0) {
      writer.kill("SIGKILL");
      writerKills += 1;
      writer = start(folder, heads, best);
    } else if (killServer(folder)) serverKills += 1;
  }
  writer.kill("SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 300));
  try {
    return { ...(await inspect(folder, heads, best)), writerKills, serverKills };
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

function start(folder: string, heads: string, best: Map<string, number>): ChildProcess {
  const child = fork(join(import.meta.dirname, "crash-writer.ts"), [folder, heads, "32"]);
  child.on("message", (acknowledged: Record<string, number>) => {
    for (const [stream, count] of Object.entries(acknowledged)) best.set(stream, count);
  });
  return child;
}

function killServer(folder: string): boolean {
  try {
    const pid = Number(readFileSync(join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0]);
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

/** Every acknowledged entry is there, every chain holds, and the signed tree is the log's. */
async function inspect(
  folder: string,
  headsFolder: string,
  best: ReadonlyMap<string, number>,
): Promise<Omit<CrashResult, "writerKills" | "serverKills">> {
  const store = await Store.open({ folder, headsFolder, databaseUrl: null });
  try {
    let lost = 0;
    for (const [stream, count] of best) {
      const head = await store.streamHead("crash", stream);
      lost += Math.max(0, count - head.count);
    }
    const pair = generateKeyPairSync("ed25519");
    const publicKey = parsePublicKey(pair.publicKey.export({ format: "der", type: "spki" }));
    const signer = {
      publicKey,
      sign: (message: Uint8Array) => sign(null, message, pair.privateKey),
    };
    const { note } = await store.sealCheckpoint("crash", "crash", signer);
    const { checkpoint } = openCheckpoint(note, "crash", [publicKey]);
    const audit = await verifyAudit(lines(store), { checkpoint: null });
    return {
      acknowledged: [...best.values()].reduce((sum, count) => sum + count, 0),
      stored: audit.entries,
      lost,
      audit: audit.verdict,
      treeMatches: audit.root === Buffer.from(checkpoint.root).toString("hex"),
    };
  } finally {
    await store.close();
  }
}

async function* lines(store: Store): AsyncGenerator<Uint8Array> {
  for await (const { index, hash, bytes } of store.readLog("crash")) {
    yield utf8Encode(`${canonicalize({ index, hash, entry: parseCanonicalJson(bytes) })}\n`);
  }
}
