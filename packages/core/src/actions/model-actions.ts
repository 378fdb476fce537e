import { z } from "zod";
import { fields, predicates } from "../formats/index.ts";
import type { ActionDeclaration } from "./declaration.ts";

/** What the switch replaces, by version and digest; null for a new model. Absent in old actions. */
const replaces = z.strictObject({ version: z.int(), sha256: z.string() }).nullable().optional();

export const MODEL_ACTIONS = {
  "model.promote": {
    text: "Make a model current in the registry.",
    params: z.strictObject({
      replaces,
      artifact: z.string(),
      sha256: z.string(),
      bytes: z.int(),
      consensus: z.string(),
    }),
    output: z.strictObject({
      model: fields.name,
      version: z.int(),
      before: fields.digest.nullable(),
      digest: fields.digest,
    }),
    policy: { matches: "resource" },
    repeats: "recalled",
    request: null,
  },
  "model.rollback": {
    text: "Make a model current again that was promoted before.",
    params: z.strictObject({ replaces, sha256: z.string() }),
    output: predicates["rollback-proof"],
    policy: { matches: "resource" },
    repeats: "recalled",
    request: null,
  },
  "evidence.export": {
    text: "Keep a copy of the run's entries as an artifact.",
    params: z.strictObject({ artifact: z.string(), formats: z.array(z.string()) }),
    output: z.strictObject({ entries: fields.count }),
    policy: { matches: "resource" },
    repeats: "again",
    request: null,
  },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;
