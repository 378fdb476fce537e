import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";

/**
 * The kill switch's own processes, the work beside which it is tried, and the proxy through which
 * alone a sandbox reaches a model. Nothing else gets this door.
 */
export type TrustedService = "sentinel" | "engine" | "dead-man" | "watch" | "load" | "model-proxy";

export interface ServiceOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly stdio: StdioOptions;
  /** True for one that must outlive us, in a session of its own. */
  readonly detached: boolean;
}

/** Start one of the services; the working folder is `/`, so that it holds no other. */
export function startTrustedService(
  _service: TrustedService,
  command: string,
  args: readonly string[],
  options: ServiceOptions,
): ChildProcess {
  const { env, stdio, detached } = options;
  const child = spawn(command, args, { env, cwd: "/", stdio, detached });
  if (detached) child.unref();
  return child;
}
