import { fields } from "@sovereign/core";
import { z } from "zod";
import { hostOf, plainUrl } from "../host-name.ts";
import { secretField } from "../secret-field.ts";
import { defineSkill } from "../skill.ts";
import { runVoyageEmbed } from "./run.ts";

/** Vectors of texts, by Voyage AI. */
export const voyageEmbed = defineSkill({
  name: "voyage_embed",
  version: "1.0.0",
  text: "Make vectors of texts by Voyage AI.",
  input: z.strictObject({
    base_url: plainUrl.default("https://api.voyageai.com/v1"),
    model: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,60}$/),
    texts: z.array(z.string().min(1).max(20_000)).min(1).max(128),
    input_type: z.enum(["query", "document"]).nullable().default(null),
    output_dimension: z.int().min(1).max(4096).optional(),
    api_key: secretField,
  }),
  output: z.strictObject({
    model: z.string(),
    count: fields.count,
    dimensions: fields.count,
    total_tokens: fields.count,
    sha256: fields.digest,
    /** Null where they are too large for the ledger: then they are the artifact alone. */
    embeddings: z.array(z.array(z.number())).nullable(),
  }),
  reversible: true,
  secrets: ["api_key"],
  repeat: () => "safe",
  resource: ({ base_url: base, model }) => `${hostOf(base)}/${model}`,
  hosts: ({ base_url: base }) => [hostOf(base)],
  run: runVoyageEmbed,
});
