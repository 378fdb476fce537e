import { API_SCOPES, fields } from "@sovereign/core";
import { z } from "zod";
import { planFile } from "../planning/index.ts";
import { goalWords } from "../services/index.ts";

/** What requests and answers are made of. The OpenAPI document is made from these. */

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string().describe("An error code of docs/errors.md"),
    exit: z.int().describe("The exit code that the command line would have: 5 after a stop"),
  })
  .meta({ id: "Problem", description: "Problem details (RFC 9457)" });

const { goal, agent_id, origin_system_id } = goalWords.shape;

const most = z.int().min(1).max(9_999_999_999).exactOptional();

export const submission = z
  .strictObject({
    goal,
    agent_id,
    origin_system_id: origin_system_id.default("api"),
    plan: planFile
      .exactOptional()
      .describe("Without it, the planner stub makes one, or the model of `planner_model`"),
    planner_model: z
      .string()
      .regex(/^[a-z][a-z0-9_.-]{0,62}\/[\x21-\x7e]{1,200}$/, "expected VENDOR/MODEL")
      .exactOptional()
      .describe("VENDOR/MODEL: a model makes the plan, and is answered for once it is made"),
    budget: z
      .strictObject({ cents: most, tokens: most, steps: most, seconds: most })
      .exactOptional()
      .describe("The most that the run may use; those of the tenant and the agent hold, too"),
    inputs: planFile.shape.inputs.describe("Values in the place of the plan's own inputs"),
    priority: z
      .int()
      .min(-100)
      .max(100)
      .default(0)
      .describe("Where workers carry runs out, the highest of a tenant's waiting runs comes first"),
  })
  .refine(({ plan, planner_model: model }) => plan === undefined || model === undefined, {
    path: ["planner_model"],
    message: "expected a plan or the model that makes one, found both",
  })
  .meta({ id: "Submission", description: "A goal of the token's tenant" });

const runId = fields.runId;

export const begun = z
  .object({ run_id: runId, is_new: z.boolean() })
  .meta({ id: "BegunRun", description: "A run that is durable, and is worked on" });

export const runView = z
  .object({
    run_id: runId,
    kind: z.string(),
    name: z.string(),
    status: z.enum(["queued", "running", "pending", "completed", "failed", "halted"]),
    reason: z.string().nullable(),
    mode: fields.mode,
    plan_digest: fields.digest,
    created_at: fields.timestamp,
    updated_at: fields.timestamp,
  })
  .meta({ id: "Run" });

export const runPage = z
  .object({
    runs: z.array(runView),
    next: runId.nullable().describe("The cursor of the next page"),
  })
  .meta({ id: "RunPage" });

export const runDetails = runView
  .omit({ plan_digest: true })
  .extend({
    published: z.boolean().describe("Whether its evidence can be downloaded"),
    steps: z.array(z.object({ step: z.string(), status: z.string(), attempt: z.int() })),
  })
  .meta({ id: "RunDetails" });

const step = z.record(z.string(), fields.json).describe("docs/spec/schemas/trace-step.json");
const head = z.record(z.string(), fields.json).describe("docs/spec/schemas/trace-head.json");

export const trace = z.object({ trace: head, steps: z.array(step) }).meta({ id: "Trace" });

export const proof = z
  .object({
    run_id: runId,
    tenant_id: fields.name,
    integrity: z.object({
      model: z.enum(["HASH_CHAIN", "MERKLE_TREE"]),
      root_hash: fields.digest.nullable(),
      chain_length: fields.count,
      verification_status: z.enum(["VERIFIED", "FAILED", "UNSUPPORTED"]),
      failure_reason: z.string().nullable(),
      place: z.string().nullable(),
    }),
    traces: z.array(head),
    steps: z.array(step),
    verified_at: fields.timestamp,
  })
  .meta({ id: "Proof" });

export const artifacts = z
  .object({ artifacts: z.array(fields.artifactRef) })
  .meta({ id: "Artifacts" });

export const skill = z
  .object({
    name: z.string(),
    version: z.string(),
    text: z.string(),
    reversible: z.boolean(),
    input: z.record(z.string(), fields.json),
    output: z.record(z.string(), fields.json),
  })
  .meta({ id: "Skill" });

export const ownSkill = skill
  .omit({ reversible: true })
  .extend({
    digest: z.string().describe("Of its folder: plans and evidence name it"),
    host: z.string().nullable().describe("The one host that it may reach; null for none"),
  })
  .meta({ id: "OwnSkill", description: "A skill of the tenant's own, that somebody trusts" });

export const skills = z
  .object({ skills: z.array(skill), own: z.array(ownSkill) })
  .meta({ id: "Skills" });

export const document = z
  .record(z.string(), fields.json)
  .describe("A document of docs/spec/schemas");

export const whoami = z
  .object({
    tenant_id: fields.name,
    name: z.string().describe("How incidents and cancelled runs name the caller"),
    token_id: fields.tokenId.nullable().describe("Null for a token of the identity provider"),
    issuer: fields.oidcIssuer
      .nullable()
      .describe("The identity provider; null for a token of ours"),
    subject: fields.oidcSubject.nullable(),
    scopes: z.array(z.enum(API_SCOPES)),
    expires_at: fields.timestamp,
  })
  .meta({ id: "Caller" });

export const health = z.object({ status: z.literal("ok") }).meta({ id: "Health" });
export const readiness = z
  .object({ status: z.enum(["ready", "unready"]), code: z.string().nullable() })
  .meta({ id: "Readiness" });

const instant = fields.timestamp.nullable();
export const incident = z
  .object({
    incident_id: z.string(),
    kind: z.string(),
    subject: z.string(),
    severity: z.enum(["INFO", "WARNING", "ERROR", "CRITICAL"]),
    state: z.enum(["open", "acknowledged", "resolved"]),
    summary: z.string(),
    code: z.string().nullable(),
    run_id: runId.nullable(),
    step_id: z.string().nullable(),
    occurrences: fields.count,
    raised_at: fields.timestamp,
    last_at: fields.timestamp,
    acknowledged_by: z.string().nullable(),
    acknowledged_at: instant,
    resolved_by: z.string().nullable(),
    resolved_at: instant,
    note: z.string().nullable(),
  })
  .meta({ id: "Incident", description: "What a person has to look at" });

export const incidents = z.object({ incidents: z.array(incident) }).meta({ id: "Incidents" });

export const incidentDetails = incident
  .extend({
    entries: z.array(
      z.object({
        index: fields.count,
        stream: z.string(),
        sequence: fields.count,
        event: z.string(),
        at: fields.timestamp,
        summary: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: "IncidentDetails", description: "With the entries that speak of it" });

const limit = fields.count.nullable().describe("The most; null for no limit");
const used = fields.count;
export const budgets = z
  .object({
    budgets: z.array(
      z.object({
        scope: z.enum(["tenant_month", "agent_day", "run"]),
        subject: z.string().describe("The agent or the run; empty for the tenant"),
        period: z.string().describe("Such as 2026-11 or 2026-11-29; empty for a run"),
        ...{ microusd: limit, tokens: limit, steps: limit, ms: limit },
        use: z.object({
          ...{ held_microusd: used, held_tokens: used, held_steps: used, held_ms: used },
          ...{ used_microusd: used, used_tokens: used, used_steps: used, used_ms: used },
        }),
      }),
    ),
  })
  .meta({ id: "Budgets" });

export const breakers = z
  .object({
    breakers: z.array(
      z.object({
        skill: z.string(),
        host: z.string(),
        state: z.enum(["closed", "open", "half_open"]),
        failures: fields.count,
        changed_at: fields.timestamp,
      }),
    ),
  })
  .meta({ id: "Breakers" });

export const ended = z
  .object({ run_id: runId, status: z.string(), reason: z.string().nullable() })
  .meta({ id: "EndedRun" });

/** As the services take it. */
const reason = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .refine((text) => text.trim() !== "" && !text.includes("\0"), "expected a text");
export const cancellation = z
  .strictObject({ reason: reason(1000) })
  .meta({ id: "Cancellation", description: "Why a run is ended" });
export const resolution = z
  .strictObject({ note: reason(2000) })
  .meta({ id: "Resolution", description: "Why an incident is done with" });

const incidentId = z.string().regex(/^inc_[0-9a-f]{20}$/, "expected inc_ and 20 of 0-9 a-f");
export const incidentParams = z.object({ incident: incidentId });
export const incidentQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(50),
  state: z.enum(["open", "acknowledged", "resolved", "unresolved"]).exactOptional(),
  kind: z
    .string()
    .regex(/^[a-z][a-z_]{0,40}$/)
    .exactOptional(),
});
export const budgetQuery = z.strictObject({
  run: runId.exactOptional().describe("Also that of this run"),
});

export const runParams = z.object({ run: runId });
export const artifactParams = runParams.extend({ sha256: fields.digest });
export const listQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  status: runView.shape.status.exactOptional(),
  kind: z
    .string()
    .regex(/^[a-z][a-z_]{0,40}$/)
    .exactOptional(),
  after: runId.exactOptional().describe("The `next` of the page before"),
});
export const noQuery = z.strictObject({});
export const submitHeaders = z.object({
  "idempotency-key": goalWords.shape.idempotency_key.describe(
    "Submitted again under the same key, it is the same run",
  ),
});
export const eventHeaders = z.object({
  "last-event-id": z
    .string()
    .regex(/^\d{1,9}$/, "expected the id of an event")
    .exactOptional()
    .describe("The last event that was received: what follows it is sent"),
});
