export { type Config, loadConfig, loadSwitchConfig } from "./config.ts";
export {
  type DataFolder,
  locateDataFolder,
  openDataFolder,
  openSwitchFolder,
  requireRunsFolder,
  tenantPolicyFile,
} from "./data-folder.ts";
export { DATA_PARTS, type DataPart } from "./data-parts.ts";
export { dataWarnings } from "./data-warnings.ts";
export {
  exportInstallation,
  installationIdOf,
  joinInstallation,
  knownInstallation,
  parseExport,
  refuseOtherRoot,
  switchInstallationId,
} from "./installation-file.ts";
export {
  isShared,
  makeNodeFile,
  type NodeFile,
  readNodeFile,
  replaceNodeFile,
} from "./node-file.ts";
export { passphraseIn, passphraseOf } from "./passphrase.ts";
export {
  type Environment,
  type Setting,
  type SettingDeclaration,
  SETTINGS,
  Settings,
} from "./settings.ts";
export { acceptedPolicy, trustedDigest, trustPolicy } from "./trusted-policies.ts";
export { folderRefusal } from "./folder-refusal.ts";
export { noteRefusal, refusalOf } from "./refusal-file.ts";
export { connectScram, joinScram, programCommand } from "./sentinel-process.ts";
