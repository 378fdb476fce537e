export { parseGitCommit } from "./git-commit.ts";
export { type GitRepository, openGitRepository } from "./git-repository.ts";
export { placesOf } from "./history.ts";
export { diffTrees, listFolders, type TreeChange } from "./git-tree.ts";
export type { ObjectStore } from "./object-store.ts";
export { verifyFilePatch, verifyPatch } from "./patch-apply.ts";
export { LinkReader } from "./tree-links.ts";
