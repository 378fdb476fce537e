export {
  type Ballot,
  type CastVote,
  type ConsensusResult,
  type ConsensusStatus,
  type Fault,
  type FaultKind,
  judgeModelClaims,
  judgeVotes,
  type ModelClaims,
  modelClaims,
  quorumOf,
} from "@sovereign/core";
export { ballotsOf } from "./ballots.ts";
export { createPipelineEffects, type PipelineEffectsOptions } from "./effects.ts";
export { freezePipeline, type FrozenPipeline, openFrozen } from "./frozen.ts";
export { artifactsOf, parsePipeline } from "./pipeline-format.ts";
export {
  type Pipeline,
  pipelineSchema,
  type Stage,
  type StageLimits,
  type StageOf,
} from "./pipeline-schema.ts";
export type { ProgramSandbox, Progress } from "./ports.ts";
export { findModules } from "./program-effect.ts";
export {
  type AgentVerdict,
  checkProgramOutput,
  parseAgentVerdict,
  type ProducedFile,
  type ProgramResult,
} from "./program-output.ts";
export {
  DEFAULT_LIMITS,
  type ProgramRequest,
  programRequest,
  type ProgramTask,
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
export { PipelineRun, type PipelineRunOptions } from "./runner.ts";
export { SwitchedModels, type SwitchHistory } from "./switched-models.ts";
