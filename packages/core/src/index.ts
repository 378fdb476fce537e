export {
  type ErrorCode,
  type ErrorDetails,
  type ErrorKind,
  errorCatalogue,
  isSovereignError,
  SovereignError,
} from "./errors/index.ts";
