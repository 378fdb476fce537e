export { evaluateGates, GATES } from "./evaluate.ts";
export { answerGaps } from "./intent-gates.ts";
export { foldCharacter, foldName } from "./folded-names.ts";
export { isRelative, isSeen, nameProblem } from "./plain-names.ts";
export {
  HOST_RUN_SECTIONS,
  type HostRunRow,
  type HostRunSection,
  REPOSITORY_SECTION,
} from "./host-run/index.ts";
export { CI_FILES_RULE, isCiDenial, isCiFile, isGitControl } from "./steering-files.ts";
export {
  judgeTree,
  placesIn,
  type RefusedChange,
  type TreeJudgement,
} from "./tree-judgement.ts";
export type { LinkRules, TreeEntry } from "./tree-links.ts";
export type { Gate } from "./finding.ts";
export { judgeRelease } from "./release.ts";
export type { PackRead, ToolGateInputs } from "./tool-inputs.ts";
export {
  GATE_DOCUMENTS,
  gateInputDigests,
  type GateInputs,
  isGateInput,
  isToolRun,
  type LedgerAction,
  type LedgerRefusal,
  readGateInputs,
  type SourceImports,
} from "./inputs.ts";
