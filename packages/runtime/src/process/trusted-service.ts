import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";

/**
 * The kill switch's own processes, the work beside which it is tried, the proxies through which alone
 * a sandbox reaches a model or a host, and a command line of ours that goes on in the background.
 * Nothing else gets this door.
 */
export type TrustedService =
  | "sentinel"
  | "engine"
  | "dead-man"
  | "watch"
  | "load"
  | "model-proxy"
  | "egress"
  | "gateway"
  | "background";

export interface ServiceOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly stdio: StdioOptions;
  /** True for one that must outlive us, in a session of its own. */
  readonly detached: boolean;
  /** Where it works; `/` where it is absent, so that it holds no other folder. */
  readonly cwd?: string;
}

/** Start one of the services. */
export function startTrustedService(
  _service: TrustedService,
  command: string,
  args: readonly string[],
  options: ServiceOptions,
): ChildProcess {
  const { env, stdio, detached, cwd = "/" } = options;
  const child = spawn(command, args, { env, cwd, stdio, detached });
  if (detached) child.unref();
  return child;
}
