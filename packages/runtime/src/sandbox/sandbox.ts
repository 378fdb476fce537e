import type { ChildProcess, StdioOptions } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rmdirSync } from "node:fs";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import {
  ControlGroups,
  identify,
  isAlive,
  killPid,
  killProcess,
  launchRaw,
  type ProcessIdentity,
  startToolRun,
} from "../process/index.ts";
import { MARKER_VARIABLE, type WorkOwner } from "../scram/index.ts";
import { bare, bubblewrap } from "./bubblewrap.ts";
import {
  ARGS_FD,
  checkRequest,
  GATE_FD,
  GUARD_FD,
  INFO_FD,
  launchCommand,
  READY_FD,
  SECCOMP_FD,
  USER_FD,
} from "./command-line.ts";
import { container } from "./container.ts";
import { HoldingsWatch } from "./holdings-watch.ts";
import {
  type CheckedRequest,
  type Launcher,
  type LaunchParts,
  type LaunchPipe,
  SYSTEM_PATH,
} from "./launcher.ts";
import { checkReadable, mustDropRoot, pathUserOf } from "./path-user.ts";
import { mountPointAt, newMountPoint } from "./rooms.ts";
import type {
  SandboxBackend,
  SandboxDemands,
  SandboxEnding,
  SandboxLevel,
  SandboxOptions,
  SandboxRequest,
  SandboxResult,
} from "./types.ts";

/** How long a killed path may take to be gone before we say that it is not, and how often we look. */
const DEATH_MS = 5000;
const LOOK_MS = 5;
/** From the weakest up. */
export const LEVELS: readonly SandboxLevel[] = ["G0", "G2", "G3"];
/** The name of control groups for paths that no sentinel knows, such as the doctor's trials. */
const STANDALONE = "standalone";
const NOBODYS: WorkOwner = { tenant_id: STANDALONE, run_id: STANDALONE };
/** Where the kernel does not limit the number of processes, they are counted this often. */
const WATCH_MS = 25;
/** How long it may take to write to disk what a path wrote. */
const FLUSH_MS = 10_000;
/** One for all paths of this process. */
const WATCH = new HoldingsWatch();

const UNCOUNTED =
  "Expected a memory controller that we may write, because scram.require_memory_controller is true, found none: what a command owns of the kernel's memory would not be bounded. Mount the memory controller, have it delegated, or set it to false.";

export interface Sandbox {
  /**
   * Run one command where it can do no harm, and wait until all that it started is dead.
   *
   * @throws ERR_SANDBOX_REQUEST for a request that cannot be met exactly
   * @throws ERR_SANDBOX_UNAVAILABLE where this machine gives no sandbox
   * @throws ERR_SANDBOX_SURVIVOR when a process did not die
   *
   * @param onOutput takes standard output as it comes, in the place of the result
   */
  run(
    request: SandboxRequest,
    signal: AbortSignal,
    onOutput?: (bytes: Uint8Array) => void,
  ): Promise<SandboxResult>;
}

export function createSandbox(options: SandboxOptions = {}): Sandbox {
  return {
    run: async (request, signal, onOutput) => {
      const checked = checkRequest(request);
      const { minimumLevel = "G2" } = options;
      const launcher = launcherFor(options, minimumLevel);
      const path = new SandboxedPath(checked, withReader(options, onOutput), launcher);
      if (LEVELS.indexOf(path.level) < LEVELS.indexOf(minimumLevel)) {
        path.discard();
        throw unavailable(launcher, `level ${path.level} holds, ${minimumLevel} is asked for`);
      }
      if (options.requireMemoryController === true && !path.isCounted) {
        path.discard();
        throw new SovereignError("ERR_SANDBOX_UNAVAILABLE", UNCOUNTED);
      }
      return path.run(signal);
    },
  };
}

function withReader(
  options: SandboxOptions,
  onOutput: ((bytes: Uint8Array) => void) | undefined,
): SandboxOptions {
  if (onOutput === undefined) return options;
  return {
    ...options,
    onOutput: (stream, bytes) => {
      if (stream === "out") onOutput(bytes);
      return null;
    },
  };
}

export function launcherOf(backend: SandboxDemands["backend"]): Launcher {
  return backend === "container" ? container : bubblewrap;
}

/** What is asked for, or nothing: no back end stands in for the other one. */
function launcherFor(options: SandboxOptions, minimumLevel: SandboxLevel): Launcher {
  const launcher = launcherOf(options.backend ?? "bubblewrap");
  const missing = launcher.missing(options.searchPath ?? SYSTEM_PATH);
  if (missing === null) return launcher;
  if (options.backend !== "container" && minimumLevel === "G0") return bare;
  throw new SovereignError("ERR_SANDBOX_UNAVAILABLE", missing, { backend: launcher.backend });
}

/** One command on its way: launched, let go, ended, verified dead. */
class SandboxedPath {
  readonly #request: CheckedRequest;
  readonly #options: SandboxOptions;
  readonly #launcher: Launcher;
  readonly #parts: LaunchParts;
  readonly #groups: ControlGroups;
  readonly #pathId: string;
  #child: ChildProcess | null = null;
  /** Rejected when what was killed does not end. */
  readonly #stuck = Promise.withResolvers<never>();
  /** The gate was opened: from here on an end is the payload's. */
  #released = false;
  #patience: NodeJS.Timeout | undefined;
  #outer: ProcessIdentity | null = null;
  #inner: ProcessIdentity | null = null;
  #ending: SandboxEnding | null = null;
  /** Why it could not be set up, as far as we know it ourselves. */
  #trouble = "";
  #output = 0;
  /** What we say ourselves of its end, behind what it said. */
  #said = "";

  constructor(request: CheckedRequest, options: SandboxOptions, launcher: Launcher) {
    this.#request = request;
    this.#options = options;
    this.#launcher = launcher;
    const drop = launcher.backend !== "none" && mustDropRoot();
    const user = drop ? pathUserOf(options.owner ?? NOBODYS) : null;
    if (user !== null) checkReadable(request.readOnly, user);
    const { processes, memoryBytes, kernelBytes } = request.limits;
    // Whoever waits for the end is told; before anybody does, it is no unhandled rejection.
    this.#stuck.promise.catch(() => undefined);
    this.#pathId = options.pathId ?? `path-${randomBytes(8).toString("hex")}`;
    const name = options.name ?? STANDALONE;
    const root = ControlGroups.root(name);
    this.#groups = root.child(this.#pathId).limit({
      processes: processes + launcher.processes,
      memoryBytes,
      socketBytes: kernelBytes,
    });
    this.#parts = {
      request,
      mountPoint: this.#mountPoint(),
      groups: this.#groups.joined,
      heldDown: root.weighs,
      marker: { [MARKER_VARIABLE]: `${name}/${this.#pathId}` },
      user,
      perUserProcesses:
        !this.#groups.limitsProcesses && (user !== null || process.getuid?.() !== 0),
    };
  }

  get backend(): SandboxBackend {
    return this.#launcher.backend;
  }

  get level(): SandboxLevel {
    if (this.backend === "none") return "G0";
    return this.#groups.killable ? "G3" : "G2";
  }

  /** Whether the kernel counts what it owns of the kernel's memory. */
  get isCounted(): boolean {
    return this.#groups.limitsMemory;
  }

  /** Leave without having run. */
  discard(): void {
    this.#remove();
  }

  #mountPoint(): string {
    const { mountPoint } = this.#options;
    return mountPoint === undefined ? newMountPoint() : mountPointAt(mountPoint);
  }

  /** What there is of it on the machine, besides processes. */
  #remove(): void {
    this.#groups.remove();
    if (this.#options.mountPoint !== undefined) return;
    try {
      rmdirSync(this.#parts.mountPoint);
    } catch {
      // It is empty and in nobody's way; who tidies the temporary folder may have been first.
    }
  }

  async run(signal: AbortSignal): Promise<SandboxResult> {
    const started = performance.now();
    const cancel = (): void => {
      this.#kill("cancelled");
    };
    signal.addEventListener("abort", cancel);
    const wall = setTimeout(() => {
      this.#kill("wall_clock");
    }, this.#request.limits.wallMs);
    const watch = this.#watchProcesses();
    const unwatch = (this.#options.watch ?? WATCH).add({
      groups: this.#groups,
      kernelBytes: this.#request.limits.kernelBytes,
      flush: () => this.#flush(),
      end: (why) => {
        this.#kill("memory_limit", why);
      },
    });
    try {
      this.#child = this.#launch();
      if (signal.aborted) cancel();
      return await this.#collect(this.#child, started);
    } finally {
      signal.removeEventListener("abort", cancel);
      clearTimeout(wall);
      clearTimeout(this.#patience);
      clearInterval(watch);
      unwatch();
      this.#remove();
    }
  }

  #launch(): ChildProcess {
    const { first, script, words, env, settings, filter } = this.#launcher.prepare(this.#parts);
    const stdio: StdioOptions = Array.from({ length: GUARD_FD + 1 }, () => "pipe");
    const [command = "", ...args] = launchCommand(process.pid, script, words, first);
    const child = launchRaw({ command, args, env, stdio });
    const pipes = child.stdio as unknown as LaunchPipe[];
    for (const pipe of pipes.slice(INFO_FD)) pipe.on("error", ignoreBrokenPipe);
    child.stdin?.on("error", ignoreBrokenPipe);
    pipes[ARGS_FD]?.end(settings);
    pipes[SECCOMP_FD]?.end(filter);
    return child;
  }

  async #collect(child: ChildProcess, started: number): Promise<SandboxResult> {
    const closed = new Promise<{ code: number | null; signal: string | null }>(
      (resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code, signal) => {
          resolve({ code, signal });
        });
      },
    );
    const stdout = this.#gather("out", child.stdout);
    const stderr = this.#gather("err", child.stderr);
    const opened = this.#open(child);
    const end = await Promise.race([closed, opened.then(() => closed), this.#stuck.promise]);
    await this.#verifyDead();
    const wallMs = performance.now() - started;
    if (this.#said !== "") void this.#take("err", Buffer.from(this.#said), stderr);
    const streams = { stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) };
    if (!this.#released && this.#ending === null) {
      const said = streams.stderr.toString("utf8").trim().slice(-300);
      throw unavailable(this.#launcher, `${this.#trouble}${said}`);
    }
    return { ...this.#classify(end), ...streams, wallMs, level: this.level, backend: this.backend };
  }

  /** Set the path up behind its gate, ask whoever must know of it, then say go. */
  async #open(child: ChildProcess): Promise<void> {
    const pipes = child.stdio as unknown as LaunchPipe[];
    const gate = pipes[GATE_FD] as LaunchPipe;
    this.#outer = identify(child.pid ?? -1);
    const ready = await this.#setUp(pipes);
    if (this.#outer === null || !ready || this.#ending !== null) {
      gate.end();
      return;
    }
    try {
      if (this.#parts.heldDown) await this.#groups.holdDown();
      await this.#announce(this.#outer);
    } catch (error) {
      gate.end();
      this.#kill("cancelled");
      throw error;
    }
    this.#released = true;
    gate.end("go\n");
    child.stdin?.end(this.#request.stdin ?? "");
  }

  /** Until the gate waits, in a namespace that is complete. */
  async #setUp(pipes: readonly LaunchPipe[]): Promise<boolean> {
    const confined = await this.#confine(pipes);
    const ready =
      confined && (await isReady(pipes[READY_FD] as LaunchPipe)) && (await this.#isSealed());
    // Now all of it dies with us by itself. Where it could not set up, nothing of it stays.
    pipes[GUARD_FD]?.end(ready ? "ready\n" : "");
    return ready;
  }

  /** INVARIANT: no payload runs whose namespace would outlive its launcher. */
  async #isSealed(): Promise<boolean> {
    const inner = this.#inner;
    if (inner === null) return this.backend === "none";
    while (!this.#launcher.isSealed(inner)) {
      if (!isAlive(inner)) return false;
      await sleep(1);
    }
    return true;
  }

  /** Learn who its first process is, and who that becomes outside. */
  async #confine(pipes: readonly LaunchPipe[]): Promise<boolean> {
    try {
      const confined = await this.#launcher.confined(pipes[INFO_FD] as LaunchPipe);
      this.#inner = confined?.inner ?? null;
      if (this.#inner !== null) this.#launcher.mapUser(this.#inner, this.#parts.user);
      return confined !== null;
    } catch (error) {
      this.#trouble = `a user of its own: ${error instanceof Error ? error.message : "unknown"}`;
      return false;
    } finally {
      pipes[USER_FD]?.end("go");
    }
  }

  async #announce(outer: ProcessIdentity): Promise<void> {
    await this.#options.onStarted?.({
      pathId: this.#pathId,
      outer,
      inner: this.#inner,
      pidNamespace: this.#inner === null ? null : this.#launcher.pidNamespace(this.#inner),
      groups: this.#groups.folders,
    });
  }

  /** Kept for the result, or handed on as it comes; what is said before the payload is kept too. */
  #gather(name: "out" | "err", stream: Readable | null): Buffer[] {
    const chunks: Buffer[] = [];
    stream?.on("data", (chunk: Buffer) => {
      this.#output += chunk.length;
      if (this.#output > this.#request.limits.outputBytes) {
        this.#kill("output_limit");
        return;
      }
      const taken = this.#take(name, chunk, chunks);
      if (taken === null || this.#ending !== null) return;
      stream.pause();
      void taken.then(() => stream.resume());
    });
    return chunks;
  }

  #take(name: "out" | "err", chunk: Buffer, chunks: Buffer[]): Promise<void> | null {
    const { onOutput } = this.#options;
    if (onOutput === undefined || !this.#released) chunks.push(chunk);
    return onOutput?.(name, chunk) ?? null;
  }

  async #flush(): Promise<void> {
    const written = this.#request.writable.map(({ source }) => source);
    await startToolRun("sync", "sync", ["-f", "/", ...written], {
      env: { PATH: SYSTEM_PATH },
      cwd: "/",
      stdoutBytesMax: 0,
      timeoutMs: FLUSH_MS,
    });
  }

  /** Every rung at once: the group, the namespace's first process, the process group. */
  #kill(ending: SandboxEnding, why?: string): void {
    if (this.#ending === null && why !== undefined) this.#said = `sovereign: ended: ${why}\n`;
    this.#ending ??= ending;
    // One that no signal reaches never closes its streams either.
    this.#patience ??= setTimeout(() => {
      this.#stuck.reject(this.#survivor(this.#groups.members().length));
    }, DEATH_MS);
    // What was said before still comes; a stream that waits would never end.
    this.#child?.stdout?.resume();
    this.#child?.stderr?.resume();
    this.#groups.kill();
    if (this.#inner !== null) killProcess(this.#inner);
    const outer = this.#child?.pid;
    if (outer !== undefined) {
      killPid(-outer);
      killPid(outer);
    }
  }

  /** INVARIANT: the promise of `run` resolves only when nothing of the path lives any more. */
  async #verifyDead(): Promise<void> {
    const deadline = performance.now() + DEATH_MS;
    // Most are gone a moment later; many that die at once are not looked at often.
    for (let pause = 1; ; pause = Math.min(pause + 1, LOOK_MS)) {
      const members = this.#groups.members().map(identify);
      const alive = [...members, this.#inner].filter((one) => one !== null).filter(isAlive);
      if (alive.length === 0) return;
      if (performance.now() > deadline) {
        throw this.#survivor(alive.length);
      }
      this.#groups.kill();
      for (const one of alive) killProcess(one);
      await sleep(pause);
    }
  }

  #survivor(alive: number): SovereignError {
    const pid = this.#child?.pid ?? -1;
    const text = `${alive} processes of the path of ${pid} did not die.`;
    return new SovereignError("ERR_SANDBOX_SURVIVOR", text, { pid, alive });
  }

  /** Where the payload is root and there is no pids controller, nothing in the kernel limits. */
  #watchProcesses(): NodeJS.Timeout | undefined {
    const limited = this.#groups.limitsProcesses || this.#parts.user !== null;
    if (limited || process.getuid?.() !== 0) return undefined;
    return setInterval(() => {
      if (
        this.#groups.members().length >
        this.#request.limits.processes + this.#launcher.processes
      ) {
        this.#kill("process_limit");
      }
    }, WATCH_MS);
  }

  #classify(end: {
    code: number | null;
    signal: string | null;
  }): Pick<SandboxResult, "ended" | "exitCode" | "signal" | "refusedProcesses"> {
    if (this.#ending !== null) return { ended: this.#ending, exitCode: null, signal: "SIGKILL" };
    if (this.#groups.outOfMemory()) {
      return { ended: "memory_limit", exitCode: null, signal: "SIGKILL" };
    }
    const number = end.code !== null && end.code > 128 ? end.code - 128 : null;
    const name = end.signal ?? signalName(number);
    const refused = this.#groups.refusedProcesses();
    if (name === null && (end.code === 0 || !refused)) {
      const well = { ended: "exited", exitCode: end.code, signal: null } as const;
      return refused ? { ...well, refusedProcesses: true } : well;
    }
    // It failed by itself, and this is what it was refused.
    if (refused) return { ended: "process_limit", exitCode: end.code, signal: name };
    const ended = name === "SIGXCPU" ? "cpu_limit" : "signalled";
    return { ended, exitCode: end.code, signal: name };
  }
}

function signalName(number: number | null): string | null {
  if (number === null) return null;
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? null;
}

/** The gate's word that everything is set up; the end of the stream when something failed. */
function isReady(ready: Readable): Promise<boolean> {
  return new Promise((resolve) => {
    ready.once("data", () => {
      resolve(true);
    });
    ready.once("close", () => {
      resolve(false);
    });
  });
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE" && error.code !== "ECONNRESET") throw error;
}

function unavailable({ program }: Launcher, found: string): SovereignError {
  return new SovereignError(
    "ERR_SANDBOX_UNAVAILABLE",
    `${program} cannot make a sandbox here: ${found === "" ? "it says no reason" : found}. Try: sovereign doctor`,
    { found },
  );
}
