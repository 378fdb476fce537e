export { ControlGroups, groupBelow, type GroupLimits, kernelBytesOf } from "./control-groups.ts";
export { Crowd, CROWDED } from "./crowd.ts";
export { fileLocksByPid } from "./file-locks.ts";
export { type FolderLock, lockFolder } from "./folder-lock.ts";
export { thaw } from "./freezer.ts";
export { openForWriting } from "./open-files.ts";
export {
  firstChildOf,
  glimpseProcesses,
  identify,
  isAlive,
  isFiltered,
  killPid,
  killProcess,
  leadsSession,
  pidNamespaceOf,
  type ProcessFacts,
  type ProcessIdentity,
  sightOf,
  startTimeOf,
  stateOf,
  sweepProcesses,
} from "./process-table.ts";
export { launchRaw, type RawLaunch } from "./raw-launch.ts";
export { startToolRun, type ToolLimits, type ToolRun } from "./tool-run.ts";
export { stoppedNow, type ToolPlace, ToolScope, withLook, withTools } from "./tool-scope.ts";
export {
  type ServiceOptions,
  startTrustedService,
  type TrustedService,
} from "./trusted-service.ts";
export {
  runTrustedTool,
  startTrustedTool,
  type ToolEnd,
  type ToolOptions,
  type TrustedTool,
} from "./trusted-tool.ts";
