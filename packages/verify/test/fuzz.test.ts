import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fuzzBundle } from "./support/mutate.ts";

const VECTORS = join(import.meta.dirname, "../../../test/vectors/evidence");

describe("a bundle that was changed at random", { timeout: 240_000 }, () => {
  it.each([
    ["genuine/exec-deny.json", "genuine/trust-last.json", 3],
    ["forged/execution-genuine.zip", "forged/trust-execution.json", 4],
  ])("is never accepted, and always judged: %s", (file, trust, seed) => {
    const [bundle, trustRoot] = [file, trust].map((name) => readFileSync(join(VECTORS, name)));
    const found = fuzzBundle(bundle!, trustRoot!, { variants: 500, seed });
    expect(found).toMatchObject({ variants: 500, accepted: [], thrown: [], slow: [] });
    // Most get past the form of the document, to what is judged.
    expect(found.refused).toBeLessThan(250);
  });
});
