import { canonicalBytes, type JsonValue, sha256Hex } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { EvidenceWorld, RUN } from "../packages/runtime/test/support/evidence.ts";
import { type BenchReport, round } from "./report.ts";

const ENTRIES = 100_000;

/** A whole bundle of 100,000 entries, all five steps, beside SHA-256 over the same bytes. */
export async function run(): Promise<BenchReport> {
  const made = await EvidenceWorld.create("sovereign", RUN, ENTRIES - 9);
  try {
    const bundle = await made.bundle();
    const bytes = canonicalBytes(bundle as unknown as JsonValue);
    const trustRoot = made.trustRoot();
    const hashStart = performance.now();
    sha256Hex(bytes);
    const bare = (performance.now() - hashStart) / 1000;
    const before = process.resourceUsage().maxRSS;
    const start = performance.now();
    const report = verifyBundle(bytes, { trustRoot });
    const seconds = (performance.now() - start) / 1000;
    const peak = process.resourceUsage().maxRSS;
    if (report.verdict !== "VALID") throw new Error(report.verdict);
    return {
      title: `A bundle of ${bundle.entries.length} entries, ${round(bytes.length / 1e6)} MB`,
      rows: [
        {
          name: "verify, five steps",
          values: {
            "entries/s": round(bundle.entries.length / seconds),
            seconds: round(seconds),
            "peak RSS MB": round(peak / 1e3),
            "peak RSS before MB": round(before / 1e3),
            "bare SHA-256 seconds": round(bare),
            "times bare hashing": round(seconds / bare),
          },
        },
      ],
    };
  } finally {
    made.dispose();
  }
}
