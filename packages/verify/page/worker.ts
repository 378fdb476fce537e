import { isSovereignError, type Mode, type VerificationReport } from "@sovereign/core";
import { verifyBundle } from "../src/index.ts";

/** What the page asks of its worker. */
export interface Job {
  readonly bundle: Uint8Array;
  readonly trustRoot: Uint8Array | null;
  readonly level: Mode;
}

/** A report, or why there is none: the files are no evidence. */
export type Answer =
  | { readonly report: VerificationReport }
  | { readonly problem: { readonly code: string; readonly message: string } };

/** Answer jobs, off the page's thread: however long the evidence takes, it can be cancelled. */
export function serveVerification(): void {
  globalThis.addEventListener("message", ({ data }: MessageEvent<Job>) => {
    globalThis.postMessage(answer(data));
  });
}

function answer({ bundle, trustRoot, level }: Job): Answer {
  try {
    return { report: verifyBundle(bundle, { trustRoot, level }) };
  } catch (error) {
    if (isSovereignError(error)) return { problem: { code: error.code, message: error.message } };
    const message = error instanceof Error ? error.message : "unknown failure";
    return { problem: { code: "ERR_INTERNAL", message } };
  }
}
