import { fields } from "@sovereign/core";
import { z } from "zod";
import { defineSkill } from "../skill.ts";
import { runLlmInvoke } from "./run.ts";

/** A question to a model. The policy must name `llm.call` of the same resource, too. */
export const llmInvoke = defineSkill({
  name: "llm_invoke",
  version: "1.0.0",
  text: "Ask a model, through the model proxy, which counts tokens and cost.",
  input: z.strictObject({
    /** As `sovereign models list` names it. */
    vendor: fields.name,
    model: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}$/),
    system: z.string().max(20_000).optional(),
    prompt: z.string().min(1).max(20_000),
    max_tokens: z.int().min(1).max(32_000).default(1024),
    temperature: z.number().min(0).max(2).optional(),
  }),
  output: z.strictObject({
    /** Null where it is too long for the ledger: then it is the artifact alone. */
    text: z.string().nullable(),
    stop_reason: z.string().nullable(),
    bytes: fields.count,
    sha256: fields.digest,
  }),
  reversible: true,
  repeat: () => "safe",
  resource: ({ vendor, model }) => `${vendor}/${model}`,
  // Text has three to four bytes for a token, dense text about two; what it costs the model proxy holds.
  most: ({ system = "", prompt, max_tokens }) => ({
    microusd: 0,
    tokens:
      Math.ceil((Buffer.byteLength(system) + Buffer.byteLength(prompt)) / 2) + 1000 + max_tokens,
  }),
  model: ({ vendor, model }) => ({ vendor, model }),
  run: runLlmInvoke,
});
