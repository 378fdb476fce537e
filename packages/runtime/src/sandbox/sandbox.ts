import type { ChildProcess, StdioOptions } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import {
  ControlGroups,
  identify,
  isAlive,
  isFiltered,
  killPid,
  killProcess,
  launchRaw,
  type ProcessIdentity,
  pidNamespaceOf,
} from "../process/index.ts";
import { MARKER_VARIABLE, type WorkOwner } from "../scram/index.ts";
import {
  ARGS_FD,
  BARE_SCRIPT,
  bubblewrapArguments,
  checkRequest,
  GATE_FD,
  gateScript,
  INFO_FD,
  LAUNCH_SCRIPT,
  READY_FD,
  SECCOMP_FD,
  USER_FD,
} from "./command-line.ts";
import { checkReadable, mapUser, mustDropRoot, pathUserOf } from "./path-user.ts";
import { seccompFilter } from "./seccomp.ts";
import type {
  SandboxEnding,
  SandboxLevel,
  SandboxOptions,
  SandboxRequest,
  SandboxResult,
} from "./types.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** How long a killed path may take to be gone before we say that it is not. */
const DEATH_MS = 5000;
/** From the weakest up. */
export const LEVELS: readonly SandboxLevel[] = ["G0", "G2", "G3"];
/** The name of control groups for paths that no sentinel knows, such as the doctor's trials. */
const STANDALONE = "standalone";
const NOBODYS: WorkOwner = { tenant_id: STANDALONE, run_id: STANDALONE };
/** Where the kernel does not limit the number of processes, they are counted this often. */
const WATCH_MS = 25;

export interface Sandbox {
  /**
   * Run one command where it can do no harm, and wait until all that it started is dead.
   *
   * @throws ERR_SANDBOX_REQUEST for a request that cannot be met exactly
   * @throws ERR_SANDBOX_UNAVAILABLE where this machine gives no sandbox
   * @throws ERR_SANDBOX_SURVIVOR when a process did not die
   */
  run(request: SandboxRequest, signal: AbortSignal): Promise<SandboxResult>;
}

export function createSandbox(options: SandboxOptions = {}): Sandbox {
  return {
    run: async (request, signal) => {
      const checked = checkRequest(request);
      const bare = !bubblewrapInstalled(options.searchPath);
      const { minimumLevel = "G2" } = options;
      if (bare && minimumLevel !== "G0") throw missing();
      const path = new SandboxedPath(checked, options, bare);
      if (LEVELS.indexOf(path.level) < LEVELS.indexOf(minimumLevel)) {
        path.discard();
        throw unavailable(`level ${path.level} holds, ${minimumLevel} is asked for`);
      }
      return path.run(signal);
    },
  };
}

export function bubblewrapInstalled(searchPath = PATH): boolean {
  return searchPath.split(":").some((folder) => existsSync(`${folder}/bwrap`));
}

/** One command on its way: launched, let go, ended, verified dead. */
class SandboxedPath {
  readonly #request: SandboxRequest;
  readonly #options: SandboxOptions;
  readonly #bare: boolean;
  readonly #groups: ControlGroups;
  readonly #pathId: string;
  /** Who the payload is outside; null where it is who we are. */
  readonly #user: number | null;
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

  constructor(request: SandboxRequest, options: SandboxOptions, bare: boolean) {
    this.#request = request;
    this.#options = options;
    this.#bare = bare;
    this.#user = !bare && mustDropRoot() ? pathUserOf(options.owner ?? NOBODYS) : null;
    if (this.#user !== null) checkReadable(request.readOnly, this.#user);
    const { processes, memoryBytes } = request.limits;
    this.#stuck.promise.catch(() => undefined);
    this.#pathId = options.pathId ?? `path-${randomBytes(8).toString("hex")}`;
    // bubblewrap and the gate are three of the group's processes before the payload starts.
    this.#groups = ControlGroups.root(options.name ?? STANDALONE)
      .child(this.#pathId)
      .limit({ processes: processes + 3, memoryBytes });
  }

  get level(): SandboxLevel {
    if (this.#bare) return "G0";
    return this.#groups.killable ? "G3" : "G2";
  }

  /** Leave without having run. */
  discard(): void {
    this.#groups.remove();
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
    try {
      this.#child = this.#launch();
      if (signal.aborted) cancel();
      return await this.#collect(this.#child, started);
    } finally {
      signal.removeEventListener("abort", cancel);
      clearTimeout(wall);
      clearTimeout(this.#patience);
      clearInterval(watch);
      this.#groups.remove();
    }
  }

  #launch(): ChildProcess {
    const { argv, cwd, limits, env, readOnly, writable } = this.#request;
    const marker = { [MARKER_VARIABLE]: `${this.#options.name ?? STANDALONE}/${this.#pathId}` };
    // Without --norc, bash takes a socket on its input for a remote login and runs ~/.bashrc.
    const bash = { command: "/bin/bash", args: ["--norc", "--noprofile", "-c"] };
    const stdio: StdioOptions = Array.from({ length: USER_FD + 1 }, () => "pipe");
    const groups = this.#groups.folders.join(" ");
    if (this.#bare) {
      const args = [...bash.args, BARE_SCRIPT, "sh", groups, ...argv];
      return launchRaw({ ...bash, args, env: { PATH, ...env, ...marker }, stdio });
    }
    const drop = this.#user !== null;
    const perUserProcesses = !this.#groups.limitsProcesses && (drop || process.getuid?.() !== 0);
    const gate = gateScript(limits, { perUserProcesses, drop });
    const given = [...writable, ...readOnly.filter(({ own }) => own === true)];
    const trees = given.map(({ source }) => source);
    const user = String(this.#user ?? "");
    const words = [groups, String(limits.fileBytes), gate, user, ...trees, "--", cwd, ...argv];
    return launchRaw({
      ...bash,
      args: [...bash.args, LAUNCH_SCRIPT, "sh", ...words],
      // bubblewrap's own environment can be read by the payload: no secret is in it.
      env: { PATH, ...marker },
      stdio,
    });
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
    const stdout = this.#gather(child.stdout);
    const stderr = this.#gather(child.stderr);
    const opened = this.#open(child);
    const end = await Promise.race([closed, opened.then(() => closed), this.#stuck.promise]);
    await this.#verifyDead();
    const wallMs = performance.now() - started;
    const streams = { stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) };
    if (!this.#released && this.#ending === null) {
      const said = streams.stderr.toString("utf8").trim().slice(-300);
      throw unavailable(`${this.#trouble}${said}`);
    }
    return { ...this.#classify(end), ...streams, wallMs, level: this.level };
  }

  /** Set the path up behind its gate, ask whoever must know of it, then say go. */
  async #open(child: ChildProcess): Promise<void> {
    const pipes = child.stdio as unknown as (Readable & Writable)[];
    for (const pipe of pipes.slice(INFO_FD)) pipe.on("error", ignoreBrokenPipe);
    child.stdin?.on("error", ignoreBrokenPipe);
    const gate = pipes[GATE_FD] as Writable;
    this.#outer = identify(child.pid ?? -1);
    const ready = await this.#setUp(pipes);
    if (this.#outer === null || !ready || this.#ending !== null) {
      gate.end();
      return;
    }
    try {
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
  async #setUp(pipes: readonly (Readable & Writable)[]): Promise<boolean> {
    const confined = this.#bare || (await this.#confine(pipes));
    return confined && (await isReady(pipes[READY_FD] as Readable)) && (await this.#isSealed());
  }

  /**
   * INVARIANT: no payload runs whose namespace would outlive its launcher. Its first process asks
   * for the death with its parent, then for the filter: who has the second has the first.
   */
  async #isSealed(): Promise<boolean> {
    if (this.#inner === null) return this.#bare;
    while (!isFiltered(this.#inner.pid)) {
      if (!isAlive(this.#inner)) return false;
      await sleep(1);
    }
    return true;
  }

  async #announce(outer: ProcessIdentity): Promise<void> {
    await this.#options.onStarted?.({
      pathId: this.#pathId,
      outer,
      inner: this.#inner,
      pidNamespace: this.#inner === null ? null : pidNamespaceOf(this.#inner.pid),
      groups: this.#groups.folders,
    });
  }

  /** Give bubblewrap its arguments and its filter, and learn who its first process is. */
  async #confine(pipes: readonly (Readable & Writable)[]): Promise<boolean> {
    const drop = this.#user !== null;
    const words = bubblewrapArguments(this.#request, drop).map((word) => `${word}\0`);
    pipes[ARGS_FD]?.end(words.join(""));
    pipes[SECCOMP_FD]?.end(seccompFilter());
    const pid = await readInnerPid(pipes[INFO_FD] as Readable);
    this.#inner = pid === null ? null : identify(pid);
    const mapped = this.#inner !== null && this.#mapUser(this.#inner.pid);
    pipes[USER_FD]?.end("go");
    return mapped;
  }

  /** False where the kernel does not let us: the gate stays closed then. */
  #mapUser(pid: number): boolean {
    try {
      if (this.#user !== null) mapUser(pid, this.#user);
      return true;
    } catch (error) {
      this.#trouble = `a user of its own: ${error instanceof Error ? error.message : "unknown"}`;
      return false;
    }
  }

  #gather(stream: Readable | null): Buffer[] {
    const chunks: Buffer[] = [];
    stream?.on("data", (chunk: Buffer) => {
      this.#output += chunk.length;
      if (this.#output <= this.#request.limits.outputBytes) chunks.push(chunk);
      else this.#kill("output_limit");
    });
    return chunks;
  }

  /** Every rung at once: the group, the namespace's first process, the process group. */
  #kill(ending: SandboxEnding): void {
    this.#ending ??= ending;
    // One that no signal reaches never closes its streams either.
    this.#patience ??= setTimeout(() => {
      this.#stuck.reject(this.#survivor(this.#groups.members().length));
    }, DEATH_MS);
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
    for (;;) {
      const members = this.#groups.members().map(identify);
      const alive = [...members, this.#inner].filter((one) => one !== null).filter(isAlive);
      if (alive.length === 0) return;
      if (performance.now() > deadline) {
        throw this.#survivor(alive.length);
      }
      this.#groups.kill();
      for (const one of alive) killProcess(one);
      await sleep(5);
    }
  }

  #survivor(alive: number): SovereignError {
    const pid = this.#child?.pid ?? -1;
    const text = `${alive} processes of the path of ${pid} did not die.`;
    return new SovereignError("ERR_SANDBOX_SURVIVOR", text, { pid, alive });
  }

  /** Where the payload is root and there is no pids controller, nothing in the kernel limits. */
  #watchProcesses(): NodeJS.Timeout | undefined {
    const limited = this.#groups.limitsProcesses || this.#user !== null;
    if (limited || process.getuid?.() !== 0) return undefined;
    return setInterval(() => {
      if (this.#groups.members().length > this.#request.limits.processes + 3) {
        this.#kill("memory_limit");
      }
    }, WATCH_MS);
  }

  #classify(end: {
    code: number | null;
    signal: string | null;
  }): Pick<SandboxResult, "ended" | "exitCode" | "signal"> {
    if (this.#ending !== null) return { ended: this.#ending, exitCode: null, signal: "SIGKILL" };
    if (this.#groups.outOfMemory()) {
      return { ended: "memory_limit", exitCode: null, signal: "SIGKILL" };
    }
    const number = end.code !== null && end.code > 128 ? end.code - 128 : null;
    const name = end.signal ?? signalName(number);
    if (name === null) return { ended: "exited", exitCode: end.code, signal: null };
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

/** bubblewrap tells the first process's pid as JSON; nothing comes when it could not set up. */
async function readInnerPid(info: Readable): Promise<number | null> {
  let text = "";
  try {
    for await (const chunk of info) text += String(chunk);
  } catch {
    return null;
  }
  const found = /"child-pid":\s*(\d+)/.exec(text);
  return found?.[1] === undefined ? null : Number(found[1]);
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE" && error.code !== "ECONNRESET") throw error;
}

function missing(): SovereignError {
  return new SovereignError(
    "ERR_SANDBOX_UNAVAILABLE",
    "bubblewrap is not installed, and nothing runs without a sandbox. On Debian or Ubuntu type: sudo apt-get install bubblewrap",
  );
}

function unavailable(found: string): SovereignError {
  return new SovereignError(
    "ERR_SANDBOX_UNAVAILABLE",
    `bubblewrap cannot make a sandbox here: ${found}. Try: sovereign doctor`,
    { found },
  );
}
