export { homeOf, type Machine, type WorkTree } from "./places.ts";
export { copiesIn, inTree, requireUnchanged, resolveTools } from "./resolve-tools.ts";
