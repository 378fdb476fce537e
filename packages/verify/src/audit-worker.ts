import { parentPort } from "node:worker_threads";
import { judgeLines } from "./audit-lines.ts";
import { checkEnvelopes, type EnvelopeBatch } from "./envelope-batch.ts";

/** One thread of the verifier: lines that it is given it judges, envelopes it checks. */
parentPort?.on("message", (batch: Uint8Array | EnvelopeBatch) => {
  if (!(batch instanceof Uint8Array)) {
    const checked = checkEnvelopes(batch);
    parentPort?.postMessage(checked, [checked.good.buffer]);
    return;
  }
  const judged = judgeLines(batch);
  const { numbers, hashes, streamOf } = judged;
  parentPort?.postMessage(judged, [numbers.buffer, hashes.buffer, streamOf.buffer]);
});
