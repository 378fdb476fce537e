export {
  type CompiledPolicy,
  freezePolicy,
  openFrozenPolicy,
  opensHosts,
  ownPolicy,
} from "./compile.ts";
export { type CaseResult, checkDecisions, contextOf } from "./decision-table.ts";
export { comparePolicies, describePolicy } from "./describe.ts";
export { type PolicyTools, type SandboxPolicy, sandboxPolicy } from "./document.ts";
export { type Explanation, PolicyEngine } from "./engine.ts";
export { matchesGlob } from "./glob.ts";
export { parseHost } from "./hosts.ts";
export { type AskedApproval, type Proposal, proposePolicy, type Refused } from "./learn.ts";
export { parsePolicy } from "./parse.ts";
export { type PathProbe, resolveOnDisk, resolvePath } from "./paths.ts";
export { readPlainYaml, type YamlFile } from "./plain-yaml.ts";
