export { artifactsOf, parsePipeline } from "./pipeline-format.ts";
export {
  type Pipeline,
  pipelineSchema,
  type Stage,
  type StageOf,
} from "./pipeline-schema.ts";
