import type { Output } from "./output.ts";
import type { Services } from "../services/index.ts";

/** What every command is given. */
export interface CommandContext {
  readonly services: Services;
  readonly output: Output;
  readonly signal: AbortSignal;
  /** The command line, without node and script. */
  readonly words: readonly string[];
  /** The exit code, set by a command that did its work and has bad news. */
  exit: number;
}
