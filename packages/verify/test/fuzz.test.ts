import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fuzzAudit, fuzzNote, fuzzTrust } from "./support/mutate-inputs.ts";
import { auditOf } from "./support/audit-file.ts";
import { fuzzBundle } from "./support/mutate.ts";

const VECTORS = join(import.meta.dirname, "../../../test/vectors/evidence");
const read = (name: string): Uint8Array => readFileSync(join(VECTORS, name));

describe("a bundle that was changed at random", { timeout: 240_000 }, () => {
  it.each([
    ["genuine/exec-deny.json", "genuine/trust-last.json", 1700, 3],
    ["genuine/exec-rb.json", "genuine/trust-last.json", 1700, 4],
    ["forged/pipeline-genuine.zip", "forged/trust-pipeline.json", 800, 5],
    ["forged/execution-genuine.zip", "forged/trust-execution.json", 800, 6],
  ])("is never accepted, and always judged: %s", (file, trust, variants, seed) => {
    const found = fuzzBundle(read(file), read(trust), { variants, seed });
    expect(found).toMatchObject({ variants, accepted: [], thrown: [], slow: [] });
    // Most get past the form of the document, to what is judged.
    expect(found.refused).toBeLessThan(variants / 2);
  });
});

describe("another input that was changed at random", { timeout: 120_000 }, () => {
  const good = { accepted: [], thrown: [], slow: [] };

  it("is never a whole log, and always judged, where it is an audit file", async () => {
    const audit = auditOf(read("forged/pipeline-genuine.zip"));
    const trust = read("forged/trust-pipeline.json");
    const found = await fuzzAudit(audit, trust, { variants: 1000, seed: 7 });
    expect(found).toMatchObject({ variants: 1000, ...good });
  });

  it("is never the head of a log, and always judged, where it is a checkpoint", async () => {
    const audit = auditOf(read("forged/pipeline-genuine.zip"));
    const trust = read("forged/trust-pipeline.json");
    const found = await fuzzNote(audit, trust, { variants: 500, seed: 8 });
    expect(found).toMatchObject({ variants: 500, ...good });
  });

  it("is refused or obeyed, and never thrown over, where it is a trust root", async () => {
    const found = await fuzzTrust(read("genuine/exec-deny.json"), read("genuine/trust-last.json"), {
      variants: 500,
      seed: 9,
    });
    expect(found).toMatchObject({ variants: 500, ...good });
  });
});
