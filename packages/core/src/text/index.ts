export { cutText } from "./cut.ts";
export { unquoteGitName } from "./git-name.ts";
export { nearestName } from "./nearest-name.ts";
