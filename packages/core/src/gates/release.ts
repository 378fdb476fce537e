import { utf8Decode } from "../bytes/index.ts";
import { sha256Hex } from "../digest/index.ts";
import type { ReleaseReceipt } from "../formats/index.ts";
import { evaluateGates, GATES } from "./evaluate.ts";
import { readGateInputs } from "./inputs.ts";
import { importsOf } from "./source-imports.ts";

/** The gates that judge sources. */
const RELEASE_GATES: ReadonlySet<string> = new Set(
  GATES.filter(({ reads }) => reads.includes("sources")).map(({ id }) => id),
);

/**
 * Judge a release by its sources.
 *
 * @param sources by path, `packages/<name>/src/…`
 * @throws ERR_BYTES_MALFORMED for a source that is no text
 */
export function judgeRelease(
  sources: ReadonlyMap<string, Uint8Array>,
): Pick<ReleaseReceipt, "status" | "results" | "inputs"> {
  const files = [...sources].sort(([a], [b]) => (a < b ? -1 : 1));
  const inputs = {
    ...readGateInputs(new Map(), []),
    sources: files.map(([path, bytes]) => importsOf(path, utf8Decode(bytes))),
  };
  const results = evaluateGates(inputs).results.filter((one) => RELEASE_GATES.has(one.gate));
  return {
    status: results.every((one) => one.verdict === "pass") ? "PASS" : "FAIL",
    results,
    inputs: Object.fromEntries(files.map(([path, bytes]) => [path, sha256Hex(bytes)])),
  };
}
