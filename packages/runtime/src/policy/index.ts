export type { CompiledPolicy } from "./compile.ts";
export { type SandboxPolicy, sandboxPolicy } from "./document.ts";
export { type Explanation, PolicyEngine } from "./engine.ts";
export { matchesGlob } from "./glob.ts";
export { proposePolicy } from "./learn.ts";
export { parsePolicy } from "./parse.ts";
export { type PathProbe, resolveOnDisk, resolvePath } from "./paths.ts";
