export {
  runTrustedTool,
  startTrustedTool,
  type ToolEnd,
  type ToolOptions,
  type TrustedTool,
} from "./trusted-tool.ts";
export { launchRaw, type RawLaunch } from "./raw-launch.ts";
export { startToolRun, type ToolLimits, type ToolRun } from "./tool-run.ts";
