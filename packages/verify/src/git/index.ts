export { parseGitCommit } from "./git-commit.ts";
export { type GitRepository, openGitRepository } from "./git-repository.ts";
export { placesOf } from "./history.ts";
export { verifyPatch } from "./patch-apply.ts";
