export { type OwnFolder, readOwnFolder } from "./own-folder.ts";
export { type PinOwn, pinTo } from "./own-plan.ts";
export { type OwnSkill, OwnSkills } from "./own-store.ts";
export { findSkill, SKILLS } from "./registry.ts";
export { secretNames, secretTexts, takesSecret } from "./secret-texts.ts";
export type { AskedModel, Skill } from "./skill.ts";
export { SkillHost } from "./skill-host.ts";
export {
  type ModelCall,
  type OpenModel,
  SandboxedNetwork,
  type SkillNetwork,
} from "./skill-network.ts";
export { createSkillEffects, readInput } from "./skill-effects.ts";
