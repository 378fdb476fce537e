export { ApiError } from "./api-error.ts";
export { type Asked, type ClientOptions, SovereignClient } from "./client.ts";
export type { RunEvent } from "./event-stream.ts";
export type {
  Artifacts,
  BegunRun,
  Breakers,
  Budgets,
  Caller,
  Cancellation,
  EndedRun,
  Health,
  Incident,
  IncidentDetails,
  Incidents,
  Json,
  Operations,
  Problem,
  Proof,
  Readiness,
  Resolution,
  Run,
  RunDetails,
  RunPage,
  Skill,
  Skills,
  Submission,
  Trace,
} from "./generated.ts";
