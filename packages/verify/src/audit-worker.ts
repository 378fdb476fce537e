import { parentPort } from "node:worker_threads";
import { judgeLines } from "./audit-lines.ts";

/** One thread of {@link AuditPool}: each batch of lines that it is given, it judges. */
parentPort?.on("message", (batch: Uint8Array) => {
  const judged = judgeLines(batch);
  const { numbers, hashes, streamOf } = judged;
  parentPort?.postMessage(judged, [numbers.buffer, hashes.buffer, streamOf.buffer]);
});
