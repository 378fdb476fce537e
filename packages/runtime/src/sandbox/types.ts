import type { ControlGroups, ProcessIdentity } from "../process/index.ts";
import type { WorkOwner } from "../scram/index.ts";

/** A host path seen at another path inside. Both absolute. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  /** Made for this command alone: it may be given to the user that the command runs as. */
  readonly own?: boolean;
}

/** Limits of one path. Each is enforced; how is told in `docs/THREAT-MODEL.md`. */
export interface SandboxLimits {
  readonly wallMs: number;
  /** Of each process. */
  readonly cpuSeconds: number;
  /** Of each process, and of all together where a memory controller is there. */
  readonly memoryBytes: number;
  /** Of all together. */
  readonly processes: number;
  /** Of standard output and standard error together. */
  readonly outputBytes: number;
  /** Of each file. */
  readonly fileBytes: number;
  /** Files, folders and links in /tmp and the home folder together; `HOLDINGS` says how many. */
  readonly temporaryFiles?: number;
  /** Memory of the kernel for all together, where a memory controller is there; `HOLDINGS` too. */
  readonly kernelBytes?: number;
}

export interface SandboxRequest {
  readonly argv: readonly string[];
  /** Inside. */
  readonly cwd: string;
  readonly readOnly: readonly Mount[];
  readonly writable: readonly Mount[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin?: Uint8Array;
  readonly limits: SandboxLimits;
}

/**
 * What holds here. G3: namespaces and a control group that is killed at once. G2: namespaces.
 * G0: a process group and nothing else, only where the configuration asks for it by name.
 */
export type SandboxLevel = "G3" | "G2" | "G0";

/** What confines: bubblewrap, or a container by an OCI runtime; none only at G0. */
export type SandboxBackend = "bubblewrap" | "container" | "none";

/** What a policy asks of the sandbox that its commands run in. */
export interface SandboxDemands {
  readonly minimumLevel: SandboxLevel;
  readonly backend: Exclude<SandboxBackend, "none">;
}

export type SandboxEnding =
  | "exited"
  | "signalled"
  | "cancelled"
  | "wall_clock"
  | "cpu_limit"
  | "memory_limit"
  | "process_limit"
  | "output_limit";

export interface SandboxResult {
  readonly ended: SandboxEnding;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly wallMs: number;
  readonly level: SandboxLevel;
  readonly backend: SandboxBackend;
  /** True where it ended well although it was refused processes; absent where nobody can tell. */
  readonly refusedProcesses?: true;
}

/** What an outcome records of the sandbox that was used. */
export function usedOf({
  level,
  backend,
  refusedProcesses,
}: Pick<SandboxResult, "level" | "backend" | "refusedProcesses">): {
  readonly sandbox_level: SandboxLevel;
  readonly sandbox_backend: SandboxBackend;
  readonly processes_refused?: true;
} {
  const used = { sandbox_level: level, sandbox_backend: backend };
  return refusedProcesses === true ? { ...used, processes_refused: true } : used;
}

/** A path that is started but whose payload waits behind its gate. */
export interface StartedPath {
  readonly pathId: string;
  readonly outer: ProcessIdentity;
  /** The first process of its pid namespace; null without a sandbox. */
  readonly inner: ProcessIdentity | null;
  readonly pidNamespace: string | null;
  readonly groups: readonly string[];
}

/** What is read of a path's control groups, and done to them. */
export type OwnedGroups = Pick<
  ControlGroups,
  "kernelBytes" | "userBytes" | "forgetCaches" | "freeze" | "members"
>;

export interface WatchedPath {
  readonly groups: OwnedGroups;
  /** The most that it may own of the kernel's memory. */
  readonly kernelBytes: number;
  /** Write to disk what it wrote, so that the kernel can forget it. */
  flush(): Promise<void>;
  /** End it, and say why. */
  end(why: string): void;
}

export interface SandboxOptions {
  /** The lowest level that is accepted. `G0` is unsafe: untrusted code then runs unconfined. */
  readonly minimumLevel?: SandboxLevel;
  /** Which back end confines; there is no falling back to the other one. */
  readonly backend?: SandboxDemands["backend"];
  /** Refuse where nobody counts what the path owns of the kernel's memory. */
  readonly requireMemoryController?: boolean;
  /** Where system programs are looked for, as in `PATH`. */
  readonly searchPath?: string;
  /** The installation's name in control groups and markers. */
  readonly name?: string;
  readonly pathId?: string;
  /** Who looks at what the path owns; one for all of this process otherwise. */
  readonly watch?: { add(path: WatchedPath): () => void };
  /** A folder of ours over which what the path writes in memory is mounted; one is made otherwise. */
  readonly mountPoint?: string;
  /** Whose work it is; as root, commands of one run share a user that no other run has. */
  readonly owner?: WorkOwner;
  /**
   * Takes output as it comes, instead of the result. What it answers is waited for before more is
   * read: a payload that says more than is taken waits too. After a kill nothing waits.
   */
  readonly onOutput?: (stream: "out" | "err", bytes: Buffer) => Promise<void> | null;
  /** Asked before the payload's first instruction; a rejection means that it never runs. */
  readonly onStarted?: (path: StartedPath) => Promise<void>;
}
