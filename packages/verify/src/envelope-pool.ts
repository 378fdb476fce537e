import { availableParallelism } from "node:os";
import type { ComplianceBundle } from "@sovereign/core";
import { type Claimed, claimedEnvelopes } from "./envelope-batch.ts";
import { NOTHING_CHECKED, type SignedBy } from "./evidence.ts";
import { PoolThread } from "./pool-thread.ts";

/** Below so many entries the threads would take longer to start than to check. */
const ENTRIES_MIN = 5_000;
/** How many envelopes go to a thread at once: about half a megabyte. */
const BATCH = 256;
/** As many batches wait for each thread; so much of the bundle is held twice. */
const AHEAD_OF_EACH = 3;
const THREADS_MAX = 16;

/** Checks the signatures of a large bundle on all cores. Under Node alone. */
export class EnvelopePool {
  readonly #threads: number;
  readonly #entriesMin: number;

  /**
   * @param threads how many, by default one for each core
   * @param entriesMin how many entries a bundle must have
   */
  constructor(threads: number = availableParallelism(), entriesMin: number = ENTRIES_MIN) {
    this.#threads = Math.max(1, Math.min(THREADS_MAX, threads));
    this.#entriesMin = entriesMin;
  }

  /**
   * @returns which key signed which envelope, as far as it was found out; what is not in it is
   *   checked by the verifier itself
   */
  async check(bundle: ComplianceBundle): Promise<SignedBy> {
    if (bundle.entries.length < this.#entriesMin) return NOTHING_CHECKED;
    const signed = new Map<string, string>();
    const claims = claimedEnvelopes(bundle);
    const threads = Array.from({ length: this.#threads }, () => new PoolThread());
    try {
      const lanes = threads.flatMap((thread) =>
        Array.from({ length: AHEAD_OF_EACH }, () => work(thread, claims, signed)),
      );
      await Promise.all(lanes);
      return signed;
    } catch {
      // Without threads it only takes longer.
      return NOTHING_CHECKED;
    } finally {
      await Promise.all(threads.map((thread) => thread.close()));
    }
  }
}

/** One batch after another, until none is left. */
async function work(
  thread: PoolThread,
  claims: Iterator<Claimed, void>,
  signed: Map<string, string>,
): Promise<void> {
  for (let batch = take(claims); batch.length > 0; batch = take(claims)) {
    const envelopes = batch.map(({ envelope, publicKey }) => [envelope, publicKey] as const);
    const { good } = await thread.checkEnvelopes({ envelopes });
    for (const [at, { digest, keyId }] of batch.entries()) {
      if (good[at] === 1) signed.set(digest, keyId);
    }
  }
}

function take(claims: Iterator<Claimed, void>): Claimed[] {
  const batch: Claimed[] = [];
  while (batch.length < BATCH) {
    const next = claims.next();
    if (next.done === true) break;
    batch.push(next.value);
  }
  return batch;
}
