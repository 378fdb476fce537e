import { z } from "zod";
import { policyDecision } from "./action.ts";
import { count, digest, name } from "./common.ts";

/** The requests that a model proxy takes: the vendors' formats, and where each is asked for. */
export const modelWire = z.enum([
  "anthropic_messages",
  "anthropic_count",
  "openai_responses",
  "openai_chat",
]);
export type ModelWire = z.infer<typeof modelWire>;

const callId = z.string().regex(/^call_[a-z0-9]{20}$/, "expected call_ and 20 of a-z 0-9");

/** Bytes that are kept nowhere, or elsewhere: what they were can be shown by whoever has them. */
const bytesOf = z.strictObject({ sha256: digest, bytes: count });

/** For formats of other packages that speak of calls. */
export const modelBounds = Object.freeze({ callId, bytesOf } as const);

/**
 * Tokens, each counted once: `input` includes what was read from and written to a cache, and
 * `output` includes what was thought.
 */
export const modelUsage = z
  .strictObject({
    input: count,
    cache_read: count,
    cache_write: count,
    /** Of `cache_write`: what is kept for an hour, at another price. */
    cache_write_1h: count,
    output: count,
    reasoning: count,
  })
  .refine(
    (one) =>
      one.cache_read + one.cache_write <= one.input &&
      one.cache_write_1h <= one.cache_write &&
      one.reasoning <= one.output,
    "expected parts that are no more than their whole",
  );
export type ModelUsage = z.infer<typeof modelUsage>;

/** What a run may use; null where that is not limited. Money is in millionths of a dollar. */
export const modelBudget = z.strictObject({
  microusd: count.nullable(),
  tokens: count.nullable(),
  /** How many calls that ask for an answer are let through; absent where that is not limited. */
  turns: count.exactOptional(),
});
export type ModelBudget = z.infer<typeof modelBudget>;

/** Tokens and money that count against the budget; null where no price is known. */
const amount = z.strictObject({ tokens: count, microusd: count.nullable() });

/** All calls of the run up to and with this entry. What has no price adds nothing to the money. */
const totals = z.strictObject({
  /** How many were let through. */
  calls: count,
  tokens: count,
  microusd: count,
  /** What calls hold that have not ended. */
  reserved_tokens: count,
  reserved_microusd: count,
  /** How many ended, used tokens, and have no price. */
  unpriced: count,
});
export type ModelTotals = z.infer<typeof totals>;

/** What policy is asked: the resource is the vendor's name, a slash and the model. */
const callAction = z.strictObject({
  type: z.literal("llm.call"),
  resource: z.string().min(3).max(300),
  params: z.strictObject({
    wire: modelWire,
    /** What goes to the vendor, byte for byte. */
    request: bytesOf,
    output_tokens_max: count,
  }),
});

/** How a call ended. `unknown`: whoever had to see its end died before. */
export const modelCallEnd = z.enum([
  "completed",
  "refused",
  "failed",
  "broken",
  "malformed",
  "timeout",
  "unreachable",
  "cancelled",
  "stopped",
  "unknown",
]);
export type ModelCallEnd = z.infer<typeof modelCallEnd>;

const asked = { role: name, action: callAction, decision: policyDecision };

/** A call is allowed, and what it may cost is held: durable before anything is sent. */
export const llmReserved = z.strictObject({
  call: callId,
  ...asked,
  reserved: amount,
  /** Where the price comes from, such as `genai-prices 0.1.8 anthropic/claude-sonnet-4-5`. */
  prices: z.string().max(400).nullable(),
  budget: modelBudget,
  totals,
});

/** How it ended and what it cost: durable before its last bytes reach whoever asked. */
export const llmCalled = z.strictObject({
  call: callId,
  ended: modelCallEnd,
  /** The HTTP status; null where there was none. */
  status: z.int().min(100).max(599).nullable(),
  /** What came back, byte for byte, as far as it came; null where nothing did. */
  answer: bytesOf.nullable(),
  /** As the vendor said; null where it said nothing that can be believed. */
  usage: modelUsage.nullable(),
  cost_microusd: count.nullable(),
  /** What counts against the budget: the cost, or all that was held where it is not known. */
  charged: amount,
  totals,
});

/** Of a flood of refusals so many have an entry each. */
export const REFUSALS_TOLD = 100;

/** How many more were refused since the entry before and have none. */
const leftOut = z.int().min(1).exactOptional();

/** A call that was not allowed. Nothing was sent. */
export const llmDenied = z.strictObject({
  ...asked,
  code: z.string().max(80),
  reason: z.string().max(2000),
  left_out: leftOut,
  budget: modelBudget,
  totals,
});

/**
 * What policy is asked: the resource is the host, with the port where it is not 443. For a step of a
 * plan it is the step's own resource, which begins with that.
 */
const connectAction = z.strictObject({
  type: z.string().regex(/^(network\.connect|http\.call|skill\.[a-z][a-z0-9_]{0,60})$/),
  resource: z.string().min(1).max(1024),
  params: z.strictObject({}),
});

/** A connection to a host that policy names. Nothing is connected before this is recorded. */
export const egressConnected = z.strictObject({
  connection: z.string().regex(/^conn_[a-z0-9]{20}$/, "expected conn_ and 20 of a-z 0-9"),
  role: name,
  action: connectAction,
  decision: policyDecision,
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535),
  /** The address that was looked at, and that is connected to. */
  address: z.string().min(2).max(45),
});

/** Its end, and how many bytes went each way. */
export const egressClosed = z.strictObject({
  connection: egressConnected.shape.connection,
  ended: z.enum(["closed", "failed", "limit", "timeout", "stopped", "unknown"]),
  sent: count,
  received: count,
});

/** A connection that was not made. */
export const egressRefused = z.strictObject({
  role: name,
  host: z.string().max(300),
  code: z.string().max(80),
  reason: z.string().max(2000),
  left_out: leftOut,
});
