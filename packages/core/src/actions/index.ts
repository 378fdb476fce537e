export {
  ACTIONS,
  type ActionOutput,
  type ActionParams,
  type ActionType,
  isKnownOperation,
  operationType,
  policyFace,
  policyWords,
  type RecalledType,
  requestWord,
} from "./catalogue.ts";
export type {
  ActionDeclaration,
  PlannedAction,
  PolicyFace,
  Repeats,
  RequestForm,
} from "./declaration.ts";
export { editList, treeOutput } from "./file-actions.ts";
export { JUDGED_ACTIONS, type JudgedAction } from "./judged-actions.ts";
