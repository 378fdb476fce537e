import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { checkSignature } from "@sovereign/core";
import { writeAuditLog } from "../packages/verify/test/support/audit-log.ts";
import { World } from "../packages/runtime/test/support/world.ts";
import { type BenchReport, type BenchRow, round } from "./report.ts";

const SIZES = [100_000, 1_000_000];
const SIGNATURES = 10_000;

interface One {
  readonly seconds: number;
  readonly before: number;
  readonly maxRSS: number;
  readonly report: string;
}

/**
 * Verification of large logs, on one core and on all, each in a process of its own; beside what one
 * core needs to hash the same lines, and to check signatures, and nothing else.
 */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  const rows: BenchRow[] = [];
  const cores = availableParallelism();
  try {
    for (const entries of SIZES) {
      const file = join(folder, `${entries}.jsonl`);
      const { bytes } = writeAuditLog(file, entries);
      const bare = await hashOnly(file);
      const [alone, all] = [0, cores].map((threads) => verify(file, threads));
      if (alone!.report !== all!.report) throw new Error("the reports differ");
      for (const [name, { seconds, maxRSS, before }] of [
        ["this thread alone", alone!],
        [`${cores} threads beside it`, all!],
      ] as const) {
        rows.push({
          name: `${entries} entries, ${name}`,
          values: {
            "per second": round(entries / seconds),
            "MB/s": round(bytes / seconds / 1e6),
            "peak RSS MB": round(maxRSS / 1e3),
            "RSS before MB": round(before / 1e3),
            "of bare hashing": round(bare / seconds),
          },
        });
      }
      rows.push({
        name: `${entries} lines, SHA-256 alone`,
        values: { "per second": round(entries / bare), "MB/s": round(bytes / bare / 1e6) },
      });
      rmSync(file);
    }
    rows.push({ name: "Ed25519 checks alone", values: { "per second": round(await checkOnly()) } });
    return { title: `Verification of audit files on ${cores} cores`, rows };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function verify(file: string, threads: number): One {
  const program = join(import.meta.dirname, "verify-one.ts");
  return JSON.parse(
    execFileSync(process.execPath, [program, file, String(threads)], {
      encoding: "utf8",
    }),
  ) as One;
}

async function hashOnly(file: string): Promise<number> {
  const start = performance.now();
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    const bytes = Buffer.concat([rest, chunk as Buffer]);
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
      hash("sha256", bytes.subarray(from, at), "hex");
      from = at + 1;
    }
    rest = bytes.subarray(from);
  }
  return (performance.now() - start) / 1000;
}

async function checkOnly(): Promise<number> {
  const world = await World.create();
  try {
    const signer = await world.authority.signer("binding", null);
    const message = Buffer.alloc(1000, 1);
    const signature = signer.sign(message);
    const start = performance.now();
    for (let at = 0; at < SIGNATURES; at++) checkSignature(signer.publicKey, message, signature);
    return SIGNATURES / ((performance.now() - start) / 1000);
  } finally {
    world.dispose();
  }
}
