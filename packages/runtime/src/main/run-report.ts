import { readFileSync } from "node:fs";
import type { VerificationReport } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import type { RunReport } from "../cli/index.ts";
import type { Installation } from "./installation.ts";
import type { RunResult } from "./run-result.ts";

/** Does work on an installation that is open only as long as it takes. */
export type Opened = <T>(work: (installation: Installation) => Promise<T>) => Promise<T>;

/** How a run ended, with what the verifier says of its evidence. */
export function reportOf(result: RunResult): RunReport {
  const { runId, status, reason, code, bundle, trustRoot } = result;
  let verdict: VerificationReport["verdict"] | null = null;
  if (bundle !== null && trustRoot !== null) {
    const root = readFileSync(trustRoot);
    verdict = verifyBundle(readFileSync(bundle), { trustRoot: root }).verdict;
  }
  return { runId, status, reason, code, bundle, trustRoot, verdict };
}
