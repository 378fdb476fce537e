export {
  runTrustedTool,
  startTrustedTool,
  type ToolEnd,
  type ToolOptions,
  type TrustedTool,
} from "./trusted-tool.ts";
