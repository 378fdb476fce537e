export {
  createModelRegistry,
  type ModelRegistry,
  type ModelRegistryOptions,
  type PromoteRequest,
  type RollbackRequest,
} from "./model-registry.ts";
export { type VersionRecord, versionRecord } from "./version-log.ts";
