import { type JsonObject, SovereignError } from "@sovereign/core";
import type { Pipeline, Stage, StageLimits, StageOf } from "./pipeline-schema.ts";

/** Limits of one program, every one of them set. */
export type TaskLimits = Readonly<Record<keyof StageLimits, number>>;

/** Limits where a stage names none. Memory and processes are those of the whole sandbox. */
export const DEFAULT_LIMITS: TaskLimits = {
  wall_ms: 60_000,
  cpu_seconds: 60,
  memory_bytes: 1024 * 1024 * 1024,
  processes: 64,
  output_bytes: 1024 * 1024,
  file_bytes: 64 * 1024 * 1024,
};

/** One program to run: a stage's, or one agent's of a chain. */
export interface ProgramTask {
  /** Unique in the run: `data_preparation`, `agent_chain.validator`. */
  readonly stepId: string;
  readonly stage: string;
  readonly role: string;
  /** A file below the pipeline's programs' folder. */
  readonly program: string;
  /** Name → `stage/artifact` or `dataset/data|descriptor`. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly params: JsonObject;
  readonly limits: TaskLimits;
  /** What it must leave besides `result.json`, and nothing else. */
  readonly outputs: readonly string[];
}

/** What a program reads on stdin, as canonical JSON. */
export type ProgramRequest = {
  stage: string;
  seed: number;
  params: JsonObject;
  inputs: Record<string, { path: string; sha256: string }>;
  output: string;
};

/** The programs of a stage, in order: one, one for each agent, or none. */
export function programTasks(pipeline: Pipeline, stage: Stage): ProgramTask[] {
  switch (stage.type) {
    case "data_preparation":
    case "model_training":
      return [
        {
          stepId: stage.name,
          stage: stage.name,
          role: stage.role,
          program: stage.program,
          inputs: stage.inputs,
          params: stage.params ?? {},
          limits: limitsOf(stage.limits),
          outputs: stage.outputs,
        },
      ];
    case "agent_chain":
      return agentTasks(pipeline, stage);
    case "promotion":
    case "rollback":
    case "audit_export":
      return [];
  }
}

/**
 * The request of a task.
 *
 * @param digests the SHA-256 of each input, by its name in the task
 * @param folders where the program finds them: in the sandbox `/input` and `/output`
 */
export function programRequest(
  pipeline: Pipeline,
  task: ProgramTask,
  digests: Readonly<Record<string, string>>,
  folders: { readonly input: string; readonly output: string } = INSIDE,
): ProgramRequest {
  const inputs: ProgramRequest["inputs"] = {};
  for (const [name, reference] of Object.entries(task.inputs)) {
    const sha256 = digests[name];
    if (sha256 === undefined) {
      const text = `step ${task.stepId}: expected the digest of input ${name} (${reference})`;
      throw new SovereignError("ERR_PIPELINE_REFERENCE", text, { step: task.stepId, input: name });
    }
    inputs[name] = { path: `${folders.input}/${name}`, sha256 };
  }
  const { stepId: stage, params } = task;
  return { stage, seed: pipeline.seed, params, inputs, output: folders.output };
}

/**
 * The pipeline in which agents of the given roles lie, to show what becomes of a liar. It is
 * another pipeline with another digest: the fault stands in the plan.
 *
 * @throws ERR_PIPELINE_REFERENCE when no agent has one of the roles
 */
export function withFaults(pipeline: Pipeline, roles: readonly string[]): Pipeline {
  const known = pipeline.stages
    .filter((stage) => stage.type === "agent_chain")
    .flatMap((stage) => stage.agents.map((agent) => agent.role));
  for (const role of roles) {
    if (known.includes(role)) continue;
    const list = known.join(", ") || "none";
    const text = `--fault ${role}: expected the role of an agent (${list})`;
    throw new SovereignError("ERR_PIPELINE_REFERENCE", text, { role });
  }
  return {
    ...pipeline,
    stages: pipeline.stages.map((stage) => {
      if (stage.type !== "agent_chain") return stage;
      const agents = stage.agents.map((agent) =>
        roles.includes(agent.role)
          ? { ...agent, params: { ...agent.params, fault: "lie" } }
          : agent,
      );
      return { ...stage, agents };
    }),
  };
}

const INSIDE = { input: "/input", output: "/output" } as const;

/** An agent gets the chain's params, its own, and under each name those of the stage it judges. */
function agentTasks(pipeline: Pipeline, chain: StageOf<"agent_chain">): ProgramTask[] {
  const judged: JsonObject = {};
  for (const [name, stageName] of Object.entries(chain.judges)) {
    const found = pipeline.stages.find((stage) => stage.name === stageName);
    judged[name] = found !== undefined && "program" in found ? (found.params ?? {}) : {};
  }
  return chain.agents.map((agent) => ({
    stepId: `${chain.name}.${agent.role}`,
    stage: chain.name,
    role: agent.role,
    program: agent.program,
    inputs: chain.inputs,
    params: { ...chain.params, ...agent.params, ...judged },
    limits: limitsOf(chain.limits),
    outputs: ["verdict.json"],
  }));
}

function limitsOf(declared: StageLimits = {}): TaskLimits {
  return {
    wall_ms: declared.wall_ms ?? DEFAULT_LIMITS.wall_ms,
    cpu_seconds: declared.cpu_seconds ?? DEFAULT_LIMITS.cpu_seconds,
    memory_bytes: declared.memory_bytes ?? DEFAULT_LIMITS.memory_bytes,
    processes: declared.processes ?? DEFAULT_LIMITS.processes,
    output_bytes: declared.output_bytes ?? DEFAULT_LIMITS.output_bytes,
    file_bytes: declared.file_bytes ?? DEFAULT_LIMITS.file_bytes,
  };
}
