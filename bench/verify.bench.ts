import { createHash } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { canonicalize } from "@sovereign/core";
import { verifyAudit } from "@sovereign/verify";
import { createEntry, EMPTY_STREAM } from "../packages/runtime/src/ledger/index.ts";
import { type BenchReport, type BenchRow, round } from "./report.ts";

const ENTRIES = 100_000;

/** Streaming verification of a large log, beside the bare cost of hashing the same bytes. */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  const file = join(folder, "immutable_audit.jsonl");
  try {
    writeLog(file);
    const bare = await hashOnly(file);
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss());
    }, 20);
    const start = performance.now();
    const report = await verifyAudit(createReadStream(file), { checkpoint: null });
    const seconds = (performance.now() - start) / 1000;
    clearInterval(watch);
    if (report.verdict !== "CONSISTENT" || report.entries !== ENTRIES)
      throw new Error(report.verdict);
    const bytes = statSync(file).size;
    const rows: BenchRow[] = [
      {
        name: "verify-audit, hashes, chains, tree",
        values: {
          "entries/s": round(ENTRIES / seconds),
          "MB/s": round(bytes / seconds / 1e6),
          "peak RSS MB": round(peak / 1e6),
          "RSS before MB": round(before / 1e6),
          "of bare hashing": round(bare / seconds),
        },
      },
      {
        name: "SHA-256 of each line alone",
        values: { "entries/s": round(ENTRIES / bare), "MB/s": round(bytes / bare / 1e6) },
      },
    ];
    return { title: `Verification of ${ENTRIES} entries, ${round(bytes / 1e6)} MB`, rows };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Twenty streams, interleaved as a busy tenant's log is. */
function writeLog(file: string): void {
  const heads = new Map(
    Array.from({ length: 20 }, (_, index) => [
      `run_${"abcdefghijklmnopqrst"[index]}${"a".repeat(19)}`,
      EMPTY_STREAM,
    ]),
  );
  const names = [...heads.keys()];
  const lines: string[] = [];
  for (let index = 0; index < ENTRIES; index++) {
    const stream = names[index % names.length] as string;
    const { entry, hash, head } = createEntry(heads.get(stream) ?? EMPTY_STREAM, {
      stream,
      tenantId: "bench",
      runId: stream,
      timestamp: "2026-01-01T00:00:00.000Z",
      eventType: "execution.completed",
      severity: "INFO",
      data: {
        step_id: `step${index}`,
        attempt: 1,
        action_digest: "0".repeat(64),
        note: "x".repeat(200),
      },
    });
    heads.set(stream, head);
    lines.push(canonicalize({ index, hash, entry }));
  }
  writeFileSync(file, `${lines.join("\n")}\n`);
}

async function hashOnly(file: string): Promise<number> {
  const start = performance.now();
  for await (const line of createInterface({ input: createReadStream(file) })) {
    createHash("sha256").update(line).digest("hex");
  }
  return (performance.now() - start) / 1000;
}
