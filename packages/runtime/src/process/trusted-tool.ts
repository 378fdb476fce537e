import { type ChildProcess, spawn, spawnSync } from "node:child_process";

/** The tools that we start ourselves, outside any sandbox. Nothing else gets this door. */
export type TrustedTool =
  | "postgres"
  | "initdb"
  | "unshare"
  | "getconf"
  | "git"
  | "sync"
  | "container-program";

export interface ToolEnd {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ToolOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** An embedded database that is made on a slow disk, beside other work, takes a minute. */
const TIMEOUT_MS = 5 * 60 * 1000;
const OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Run a trusted tool to its end, for some minutes at most. For the embedded database alone, which a
 * stop must not end: it takes the record of the stop. What it is told is ours, and nothing that an
 * agent or a repository says reaches it but as a value of a statement.
 *
 * @param tool which of the closed list this is
 * @param command an absolute path, or a name that is looked up in the PATH given
 */
export function runTrustedTool(
  _tool: TrustedTool,
  command: string,
  args: readonly string[],
  options: ToolOptions,
): ToolEnd {
  const end = spawnSync(command, args, {
    env: options.env,
    cwd: options.cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
    maxBuffer: OUTPUT_BYTES,
  });
  const stderr = end.error === undefined ? end.stderr : end.error.message;
  return { status: end.status, stdout: end.stdout, stderr };
}

/** Start a trusted tool that outlives the call, and this process. `logFd` takes its output. */
export function startTrustedTool(
  _tool: TrustedTool,
  command: string,
  args: readonly string[],
  options: ToolOptions & { readonly logFd: number },
): ChildProcess {
  const child = spawn(command, args, {
    env: options.env,
    cwd: options.cwd,
    detached: true,
    stdio: ["ignore", options.logFd, options.logFd],
  });
  child.unref();
  return child;
}
