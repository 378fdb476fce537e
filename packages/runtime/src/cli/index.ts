export { helpTexts, runCli } from "./program.ts";
