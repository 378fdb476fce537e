export {
  type Ballot,
  type CastVote,
  type ConsensusResult,
  type ConsensusStatus,
  type Fault,
  type FaultKind,
  judgeVotes,
  quorumOf,
  judgeModelClaims,
  type ModelClaims,
  modelClaims,
} from "@sovereign/core";
export { artifactsOf, parsePipeline } from "./pipeline-format.ts";
export {
  type Pipeline,
  pipelineSchema,
  type Stage,
  type StageLimits,
  type StageOf,
} from "./pipeline-schema.ts";
export {
  type AgentVerdict,
  checkProgramOutput,
  type ProducedFile,
  type ProgramResult,
  parseAgentVerdict,
} from "./program-output.ts";
export {
  DEFAULT_LIMITS,
  type ProgramRequest,
  type ProgramTask,
  programRequest,
  programTasks,
  type TaskLimits,
  withFaults,
} from "./program-task.ts";
export {
  createModelRegistry,
  type ModelRegistry,
  type ModelRegistryOptions,
  type PromoteRequest,
  type RollbackRequest,
  type VersionRecord,
  versionRecord,
} from "./registry/index.ts";
export { ballotsOf } from "./ballots.ts";
export { createPipelineEffects, type PipelineEffectsOptions } from "./effects.ts";
export { type FrozenPipeline, freezePipeline, openFrozen } from "./frozen.ts";
export type { Progress, ProgramSandbox } from "./ports.ts";
export { findModules } from "./program-effect.ts";
export { PipelineRun, type PipelineRunOptions } from "./runner.ts";
export { SwitchedModels, type SwitchHistory } from "./switched-models.ts";
