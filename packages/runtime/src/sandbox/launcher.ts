import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import type { ProcessIdentity } from "../process/index.ts";
import type { PathLimits } from "./holdings.ts";
import type { SandboxBackend, SandboxRequest } from "./types.ts";

/** Both ends are sockets to us; inside each is used in one direction. */
export type LaunchPipe = Readable & Writable;

/** One that can be met exactly, and whose every limit is said. */
export interface CheckedRequest extends SandboxRequest {
  readonly limits: PathLimits;
}

export interface LaunchParts {
  readonly request: CheckedRequest;
  /** An empty folder of ours, over which it mounts what the path may write to. */
  readonly mountPoint: string;
  /** The folders of the control groups that the path joins before all else. */
  readonly groups: readonly string[];
  /** All paths' share of the processors is held down together, and raised when they are killed. */
  readonly heldDown: boolean;
  /** By what a sweep of the process table knows the path. No secret: the payload may read it. */
  readonly marker: Readonly<Record<string, string>>;
  /** Who the payload is outside; null where it is who we are. */
  readonly user: number | null;
  /** Processes are limited per user, inside: no control group limits them. */
  readonly perUserProcesses: boolean;
}

/** A script for bash, which becomes the path, its environment, and what it reads. */
export interface LaunchWords {
  /** A command before it, which becomes that shell. */
  readonly first: readonly string[];
  readonly script: string;
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** By `ARGS_FD`, so that no process list shows it. */
  readonly settings: Uint8Array;
  /** By `SECCOMP_FD`. */
  readonly filter: Uint8Array;
}

/**
 * A way to confine a path. Its life, its limits and its death are the same for all of them, in
 * `sandbox.ts`: a launcher says what to start, and who the first process inside is.
 */
export interface Launcher {
  readonly backend: SandboxBackend;
  /** The program that is driven, as people know it. */
  readonly program: string;
  /** Processes of its own in the path's control group, besides the payload's. */
  readonly processes: number;
  /** What this machine lacks of it and how to have that; null where it can be tried. */
  missing(searchPath: string): string | null;
  /** @throws ERR_SANDBOX_REQUEST, ERR_SANDBOX_UNAVAILABLE: nothing was started */
  prepare(parts: LaunchParts): LaunchWords;
  /**
   * Learn from `INFO_FD` who dies with everything inside.
   *
   * @returns null when it could not set up
   */
  confined(info: Readable): Promise<{ readonly inner: ProcessIdentity | null } | null>;
  /** Say who the payload is outside, where the launcher leaves that to us. */
  mapUser(inner: ProcessIdentity, user: number | null): void;
  /** True once all inside dies with what launched it. */
  isSealed(inner: ProcessIdentity): boolean;
  /** The payload's pid namespace, once the gate is ready; null when it cannot be told. */
  pidNamespace(inner: ProcessIdentity): string | null;
}

export const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function isInstalled(program: string, searchPath: string): boolean {
  return searchPath.split(":").some((folder) => existsSync(`${folder}/${program}`));
}

/** What came on a pipe until its end; empty when it broke. */
export async function readAll(pipe: Readable): Promise<string> {
  let text = "";
  try {
    for await (const chunk of pipe) text += String(chunk);
  } catch {
    return "";
  }
  return text;
}
