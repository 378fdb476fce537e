import { type ErrorCode, fields, type JsonValue, parseFormat } from "@sovereign/core";
import { z } from "zod";
import { readPlainYaml, type YamlFile } from "../policy/index.ts";

const DOOR = {
  bytesMax: 256 * 1024,
  tooLarge: "ERR_PLAN_INVALID",
  syntax: "ERR_PLAN_INVALID",
} as const;

export const STEPS_MAX = 200;
const stepId = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,60}$/, "expected 1 to 61 of a-z 0-9 _ -, starting with a letter");

/** A condition: a value that is looked up, and what it has to be. Nothing is computed. */
const when = z
  .strictObject({
    value: fields.json,
    equals: fields.json.optional(),
    not_equals: fields.json.optional(),
  })
  .refine(
    (one) => (one.equals === undefined) !== (one.not_equals === undefined),
    "expected equals or not_equals",
  );

export const planStep = z.strictObject({
  id: stepId,
  skill: z.string().min(1).max(60),
  /** The skill's input; texts may hold references. */
  with: z.record(z.string(), fields.json).default({}),
  /** Steps that must have completed; steps that are referred to are needed, too. */
  needs: z.array(stepId).max(STEPS_MAX).default([]),
  when: when.optional(),
  retry: z
    .strictObject({
      /** Attempts after the first. */
      max: z.int().min(0).max(10),
      backoff_ms: z.int().min(0).max(600_000).default(1000),
    })
    .optional(),
  /** What a call costs by its contract, in cents: budgets count it. */
  cost_cents: z.int().min(1).max(1_000_000).optional(),
  timeout_ms: z.int().min(1).max(3_600_000).default(30_000),
});
export type PlanStep = z.infer<typeof planStep>;

/** A plan as people and planners write it, in YAML or JSON. */
export const planFile = z.strictObject({
  schema_version: fields.schemaVersion.default("1.0.0"),
  /** Values that steps refer to as inputs. */
  inputs: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,60}$/), fields.json).default({}),
  /** How many steps run side by side. */
  parallel: z.int().min(1).max(32).default(4),
  steps: z
    .array(planStep)
    .min(1)
    .max(STEPS_MAX)
    .refine(
      (steps) => new Set(steps.map(({ id }) => id)).size === steps.length,
      "expected ids that are unique in the plan",
    ),
});
export type Plan = z.infer<typeof planFile>;

/** Read a plan file. @param bytes untrusted @throws ERR_PLAN_INVALID */
export function readPlanFile(bytes: Uint8Array, name: string): YamlFile & { readonly plan: Plan } {
  const file = readPlainYaml(bytes, name, DOOR);
  return { ...file, plan: parsePlan(file.value, name) };
}

/** @param value untrusted @throws ERR_PLAN_INVALID */
export function parsePlan(value: unknown, name: string): Plan {
  return parseFormat(planFile, value, name, INVALID);
}

/** A value given on the command line takes the place of one of the plan's. */
export function withInputs(plan: Plan, given: Readonly<Record<string, JsonValue>>): Plan {
  return { ...plan, inputs: { ...plan.inputs, ...given } };
}

const INVALID: ErrorCode = "ERR_PLAN_INVALID";
