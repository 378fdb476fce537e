import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isSovereignError, type JsonObject, parseStrictJson } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { parseBundle } from "../src/bundle-file.ts";
import { claimedEnvelopes } from "../src/envelope-batch.ts";
import { EnvelopePool } from "../src/envelope-pool.ts";
import { verifyBundleOn } from "../src/verify-bundle.ts";

const ROOT = join(import.meta.dirname, "../../../test/vectors/evidence");

interface Vector {
  readonly file: string;
  readonly trust: string | null;
  readonly level: "sovereign" | "compatible";
}
const index = parseStrictJson(readFileSync(join(ROOT, "index.json"))) as JsonObject;
const VECTORS = index["vectors"] as unknown as Vector[];

/** The report, or the code of a refusal. */
async function said(work: () => unknown): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return error.code;
  }
}

describe("a bundle whose signatures several threads check", { timeout: 120_000 }, () => {
  it("has the report of one thread, for recorded and for forged bundles", async () => {
    // One of each kind: each costs the start of a thread.
    const kinds =
      /genuine\/(iron-revoked|exec-rotated)|^found\/(01|02|03-|07)|forged\/(014|077|083)-/;
    const some = VECTORS.filter(({ file }) => kinds.test(file));
    expect(some.length).toBeGreaterThan(7);
    for (const { file, trust, level } of some) {
      const bytes = readFileSync(join(ROOT, file));
      const trustRoot = trust === null ? null : readFileSync(join(ROOT, trust));
      const alone = await said(() => verifyBundle(bytes, { trustRoot, level }));
      const pool = new EnvelopePool(1, 0);
      const together = await said(() => verifyBundleOn(pool, bytes, { trustRoot, level }));
      expect({ file, report: together }).toEqual({ file, report: alone });
    }
  });

  it("finds every signature of genuine evidence, and none that was changed", async () => {
    const bundle = parseBundle(readFileSync(join(ROOT, "genuine/iron.json")));
    const claims = [...claimedEnvelopes(bundle)];
    expect(claims).toHaveLength(Object.keys(bundle.envelopes).length);
    const signed = await new EnvelopePool(2, 0).check(bundle);
    expect([...signed.keys()].sort()).toEqual(Object.keys(bundle.envelopes).sort());
    const [first, second] = claims;
    if (first === undefined || second === undefined) throw new Error("no envelopes");
    first.envelope.signatures = second.envelope.signatures;
    second.envelope.payload = first.envelope.payload;
    const changed = await new EnvelopePool(1, 0).check(bundle);
    expect(changed.has(first.digest)).toBe(false);
    expect(changed.size).toBe(signed.size - 2);
  });

  it("starts no thread for a small bundle", async () => {
    const bundle = parseBundle(readFileSync(join(ROOT, "genuine/iron.json")));
    expect((await new EnvelopePool().check(bundle)).size).toBe(0);
  });
});
