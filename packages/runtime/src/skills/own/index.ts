import { fields } from "@sovereign/core";
import { z } from "zod";
import { defineSkill } from "../skill.ts";

export const ownInput = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,59}$/, "expected a name of a-z 0-9 _"),
  /** Of the folder that was trusted. The plan that is stored always has one. */
  digest: fields.digest.optional(),
  /** The one host that it may reach, as its manifest says. */
  host: z.string().max(260).optional(),
  /** What it does at its host may be done twice. */
  idempotent: z.boolean().default(false),
  /** As its own schema says. */
  input: z.record(z.string(), fields.json).default({}),
});

/**
 * A skill of the tenant's own, which somebody trusted by `sovereign skills add`. It runs alone in a
 * sandbox. Its own schemas are in its manifest; this one says which skill, and as it was trusted.
 */
export const own = defineSkill({
  name: "own",
  version: "1.0.0",
  text: "Run a skill of your own, as it was trusted: sovereign skills add.",
  input: ownInput,
  output: fields.json,
  reversible: false,
  // Its manifest says which of these; more is refused when the plan is checked.
  secrets: ["input.*", "input.*.*", "input.*.*.*"],
  repeat: ({ host, idempotent }) => (host === undefined || idempotent ? "safe" : "unsafe"),
  resource: ({ host, name }) => (host === undefined ? name : `${host}/${name}`),
  hosts: ({ host }) => (host === undefined ? [] : [host]),
  isOwn: true,
});
