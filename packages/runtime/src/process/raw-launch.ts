import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";

export interface RawLaunch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdio: StdioOptions;
}

/**
 * Start any process, in a process group of its own. For the sandbox alone: what it starts is
 * confined before its first instruction.
 */
export function launchRaw(launch: RawLaunch): ChildProcess {
  return spawn(launch.command, launch.args, {
    env: launch.env,
    cwd: "/",
    detached: true,
    stdio: launch.stdio,
  });
}
