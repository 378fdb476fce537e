export { type Difference, differencesOf, differenceText } from "./differences.ts";
export { patchSections } from "./patch-sections.ts";
export { isSerious, resultPackOf, type ToolEvidence } from "./result-pack.ts";
export { commandLogOf, readToolFacts, type ToolFacts } from "./run-facts.ts";
export {
  agentOfTool,
  commandsOfPack,
  promptOfPack,
  timeoutOfPack,
  toolOfAgent,
  wordsOfCommand,
} from "./task-pack.ts";
export { scopeJudge, scopeProblem, type ScopeWork } from "./work-scope.ts";
