export { createBatchEffect } from "./batch-effect.ts";
export {
  type BatchAction,
  type BatchContent,
  type BatchFile,
  batchFile,
  paramsOf,
  parseBatchContent,
  parseBatchFile,
} from "./batch-format.ts";
