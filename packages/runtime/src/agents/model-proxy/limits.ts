import { fields } from "@sovereign/core";
import { z } from "zod";

const ms = z.int().min(1).max(86_400_000);

/** Bounds of one proxy. Each holds for whatever a client or a vendor sends. */
export const proxyLimits = z.strictObject({
  requestBytesMax: fields.count.default(32 * 1024 * 1024),
  answerBytesMax: fields.count.default(64 * 1024 * 1024),
  eventBytesMax: fields.count.default(16 * 1024 * 1024),
  refusalBytesMax: fields.count.default(64 * 1024),
  /** For a client to send its request. */
  requestMs: ms.default(60_000),
  /** For the vendor to begin to answer: models may think long before their first word. */
  firstByteMs: ms.default(600_000),
  /** Between two pieces of an answer. */
  idleMs: ms.default(300_000),
  /** For a client to take a piece. */
  clientMs: ms.default(60_000),
  /** For a whole call. */
  callMs: ms.default(3_600_000),
  /** For what follows the end of an answer. */
  drainMs: ms.default(1000),
  /** Calls of one run at once. */
  callsMax: z.int().min(1).max(256).default(8),
  connectionsMax: z.int().min(1).max(4096).default(64),
});
export type ProxyLimits = z.infer<typeof proxyLimits>;
