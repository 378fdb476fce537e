export { cutText } from "./cut.ts";
export { unquoteGitName } from "./git-name.ts";
export { nearestName } from "./nearest-name.ts";
export { systemWords } from "./system-words.ts";
export { withoutEnd } from "./without-end.ts";
