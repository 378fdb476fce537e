import { type ErrorCode, fields, isErrorCode, modelBounds } from "@sovereign/core";
import { z } from "zod";
import { proxyLimits } from "./limits.ts";

const id = z.int().min(0);
const text = z.string().max(2000);
const code = z.custom<ErrorCode>(isErrorCode, "expected a code of the catalogue");
const owner = z.strictObject({ tenant_id: fields.name, run_id: fields.runId });

const { bytesOf, callId } = modelBounds;

/** What a control tells the proxy that it started. */
export const toProxy = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("admit"),
    id,
    owner,
    token_sha256: fields.digest,
    vendor: fields.name,
    models: z.array(z.string().max(200)).max(100),
    limits: proxyLimits.partial(),
  }),
  z.strictObject({ type: z.literal("end"), id, run_id: fields.runId }),
  z.strictObject({ type: z.literal("stop"), reason: text }),
  z.strictObject({ type: z.literal("allowed"), id, call: callId }),
  z.strictObject({ type: z.literal("refused"), id, code, reason: text }),
  z.strictObject({ type: z.literal("recorded"), id }),
]);
export type ToProxy = z.infer<typeof toProxy>;

/** What a proxy tells, and asks, the control that started it. */
export const toControl = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ready") }),
  z.strictObject({ type: z.literal("done"), id }),
  z.strictObject({ type: z.literal("failed"), id, code, reason: text }),
  z.strictObject({
    type: z.literal("reserve"),
    id,
    run_id: fields.runId,
    request: z.strictObject({
      wire: fields.modelWire,
      vendor: fields.name,
      model: z.string().min(1).max(200),
      request: bytesOf,
      inputTokens: fields.count,
      cachesForAnHour: z.boolean(),
      outputTokensMax: fields.count,
    }),
  }),
  z.strictObject({
    type: z.literal("settle"),
    id,
    run_id: fields.runId,
    call: callId,
    outcome: z.strictObject({
      ended: fields.modelCallEnd,
      status: z.int().min(100).max(599).nullable(),
      answer: bytesOf.nullable(),
      usage: fields.modelUsage.nullable(),
    }),
  }),
]);
export type ToControl = z.infer<typeof toControl>;
