export { createBatchEffect } from "./batch-effect.ts";
export {
  type BatchAction,
  type BatchContent,
  batchContent,
  type BatchFile,
  batchFile,
  paramsOf,
  parseBatchContent,
  parseBatchFile,
} from "./batch-format.ts";
