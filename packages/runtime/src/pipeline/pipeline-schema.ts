import { fields } from "@sovereign/core";
import { z } from "zod";

/** A path below the pipeline's folder: plain segments, so it can neither climb nor be absolute. */
const relativePath = z
  .string()
  .max(200)
  .regex(
    /^(?!.*(?:^|\/)\.)[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/,
    "expected a relative path of plain names, without .. and hidden names",
  );

/** A file that a program leaves in its output folder. */
const fileName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/, "expected 1 to 63 of a-z 0-9 _ . -, not starting with .");

/** `stage/artifact` of an earlier stage, or `dataset/data` and `dataset/descriptor`. */
const reference = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}\/[a-z0-9][a-z0-9_.-]{0,62}$/, "expected stage/artifact");

/** A stage's name becomes the step id, so it holds no dot: `agent_chain.planner` is a step. */
const stageName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, "expected 1 to 63 of a-z 0-9 _ -, starting with a letter")
  .refine((text) => text !== "dataset", "`dataset` is the name of the pipeline's data");

const inputs = z.record(z.string().regex(/^[a-z][a-z0-9_]{0,62}$/), reference);
const limit = (max: number): z.ZodInt => z.int().min(1).max(max);

/** Limits of one program; what is absent is filled from `DEFAULT_LIMITS`. */
export const stageLimits = z.strictObject({
  wall_ms: limit(3_600_000).optional(),
  cpu_seconds: limit(3600).optional(),
  memory_bytes: limit(64 * 2 ** 30).optional(),
  processes: limit(4096).optional(),
  output_bytes: limit(2 ** 30).optional(),
  file_bytes: limit(16 * 2 ** 30).optional(),
});

export type StageLimits = z.infer<typeof stageLimits>;

const common = {
  name: stageName,
  /** Who acts: the role whose key signs for this stage. */
  role: fields.name,
  description: z.string().max(500).optional(),
};

const programmed = {
  ...common,
  /** A file below the programs' folder. */
  program: relativePath,
  inputs,
  params: fields.jsonObject.optional(),
  limits: stageLimits.optional(),
  /** The files that it must leave, `result.json` besides; any other file is refused. */
  outputs: z.array(fileName).min(1).max(32),
};

const dataPreparation = z.strictObject({ ...programmed, type: z.literal("data_preparation") });

const modelTraining = z.strictObject({ ...programmed, type: z.literal("model_training") });

const agentChain = z.strictObject({
  ...common,
  type: z.literal("agent_chain"),
  /** The same for every agent; `model` is what a promotion may then promote. */
  inputs,
  params: fields.jsonObject.optional(),
  limits: stageLimits.optional(),
  /** Name in the agents' params → an earlier stage, whose declared params are passed under it. */
  judges: z.record(z.string().regex(/^[a-z][a-z0-9_]{0,62}$/), stageName),
  agents: z
    .array(
      z.strictObject({
        role: fields.name,
        program: relativePath,
        params: fields.jsonObject.optional(),
      }),
    )
    .min(1)
    .max(64),
});

const promotion = z.strictObject({
  ...common,
  type: z.literal("promotion"),
  model: fields.name,
  inputs: z.strictObject({ model: reference }),
  /** The agent chain that must have approved this very model; `none` must be written out. */
  consensus: z.union([z.literal("none"), stageName]),
});

const rollback = z.strictObject({
  ...common,
  type: z.literal("rollback"),
  model: fields.name,
  /** The earlier promotion whose model is to be current again. */
  restore: stageName,
});

const auditExport = z.strictObject({
  ...common,
  type: z.literal("audit_export"),
  formats: z
    .array(z.enum(["json", "zip"]))
    .min(1)
    .max(2),
});

export const stage = z.discriminatedUnion("type", [
  dataPreparation,
  modelTraining,
  agentChain,
  promotion,
  rollback,
  auditExport,
]);
export type Stage = z.infer<typeof stage>;
export type StageOf<T extends Stage["type"]> = Extract<Stage, { type: T }>;

const dataset = z.strictObject({
  name: fields.name,
  path: relativePath,
  sha256: fields.digest,
  /** SPDX id. */
  licence: z.string().min(1).max(100),
  descriptor: z.strictObject({ path: relativePath, sha256: fields.digest }).optional(),
});

const governance = z.strictObject({
  enforcement_level: z.literal("strict"),
  policy_binding_required: z.literal(true),
  role_signatures_required: z.literal(true),
  policy: relativePath,
  approvals: z.strictObject({
    required: z.int().min(1).max(64),
    roles: z.array(fields.name).min(1).max(64),
  }),
});

/** The pipeline file. The one definition of its shape: the JSON Schema is made from it. */
export const pipelineSchema = z.strictObject({
  name: fields.name,
  version: z.string().regex(/^\d{1,6}\.\d{1,6}\.\d{1,6}$/, "expected a version such as 1.0.0"),
  description: z.string().max(2000).optional(),
  /** The one source of chance for every program. */
  seed: z.int().min(0).max(0x7fff_ffff),
  dataset,
  /** The folder of the programs, seen by each of them as `/program`, read-only. */
  programs: relativePath,
  stages: z.array(stage).min(1).max(200),
  governance,
});
export type Pipeline = z.infer<typeof pipelineSchema>;
