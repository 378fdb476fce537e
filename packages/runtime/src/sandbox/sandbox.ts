import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import { launchRaw } from "../process/index.ts";
import {
  ARGS_FD,
  bubblewrapArguments,
  checkRequest,
  GATE_FD,
  gateScript,
  INFO_FD,
  LAUNCH_SCRIPT,
} from "./command-line.ts";
import { ControlGroups } from "./control-groups.ts";
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
      if (bare && options.minimumLevel !== "G0") throw missing();
      return new SandboxedPath(checked, options, bare).run(signal);
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
  #child: ChildProcess | null = null;
  #innerPid: number | null = null;
  #ending: SandboxEnding | null = null;
  #output = 0;

  constructor(request: SandboxRequest, options: SandboxOptions, bare: boolean) {
    this.#request = request;
    this.#options = options;
    this.#bare = bare;
    const { processes, memoryBytes } = request.limits;
    // bubblewrap and the gate are three of the group's processes before the payload starts.
    const id = randomBytes(8).toString("hex");
    this.#groups = ControlGroups.create(id, { processes: processes + 3, memoryBytes });
  }

  get #level(): SandboxLevel {
    if (this.#bare) return "G0";
    return this.#groups.killable ? "G3" : "G2";
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
      clearInterval(watch);
      this.#groups.remove();
    }
  }

  #launch(): ChildProcess {
    const { argv, limits, env } = this.#request;
    if (this.#bare) {
      const [command = "", ...args] = argv;
      return launchRaw({ command, args, env: { PATH, ...env }, stdio: ["pipe", "pipe", "pipe"] });
    }
    const perUser = !this.#groups.limitsProcesses && process.getuid?.() !== 0;
    const gate = gateScript(limits, perUser);
    return launchRaw({
      command: "/bin/bash",
      // Without --norc, bash takes a socket on its input for a remote login and runs ~/.bashrc.
      args: [
        "--norc",
        "--noprofile",
        "-c",
        LAUNCH_SCRIPT,
        "sh",
        this.#groups.folders.join(" "),
        String(limits.fileBytes),
        gate,
        ...argv,
      ],
      // bubblewrap's own environment can be read by the payload: nothing is in it.
      env: { PATH },
      stdio: ["pipe", "pipe", "pipe", "pipe", "pipe", "pipe"],
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
    const opened = this.#bare ? this.#feed(child) : this.#open(child);
    const end = await Promise.race([closed, opened.then(() => closed)]);
    await this.#verifyDead(child);
    const wallMs = performance.now() - started;
    const streams = { stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) };
    if (end.code === 1 && this.#innerPid === null && !this.#bare && this.#ending === null) {
      throw unavailable(streams.stderr.toString("utf8").trim().slice(-300));
    }
    return { ...this.#classify(end), ...streams, wallMs, level: this.#level };
  }

  /** Give bubblewrap its arguments, learn the inner pid, ask whoever must know, then say go. */
  async #open(child: ChildProcess): Promise<void> {
    const pipes = child.stdio as unknown as (Readable & Writable)[];
    for (const pipe of pipes.slice(INFO_FD)) pipe.on("error", ignoreBrokenPipe);
    const args = pipes[ARGS_FD] as Writable;
    args.end(
      bubblewrapArguments(this.#request)
        .map((word) => `${word}\0`)
        .join(""),
    );
    this.#innerPid = await readInnerPid(pipes[INFO_FD] as Readable);
    const gate = pipes[GATE_FD] as Writable;
    if (this.#innerPid === null || this.#ending !== null) {
      gate.end();
      return;
    }
    try {
      await this.#options.onStarted?.({
        outerPid: child.pid ?? -1,
        innerPid: this.#innerPid,
        groups: this.#groups.folders,
      });
    } catch (error) {
      gate.end();
      this.#kill("cancelled");
      throw error;
    }
    gate.end("go\n");
    await this.#feed(child);
  }

  #feed(child: ChildProcess): Promise<void> {
    child.stdin?.on("error", ignoreBrokenPipe);
    child.stdin?.end(this.#request.stdin ?? "");
    return Promise.resolve();
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
    this.#groups.kill();
    const outer = this.#child?.pid;
    if (this.#innerPid !== null) killQuietly(this.#innerPid);
    if (outer !== undefined) {
      killQuietly(-outer);
      killQuietly(outer);
    }
  }

  /** INVARIANT: the promise of `run` resolves only when nothing of the path lives any more. */
  async #verifyDead(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + DEATH_MS;
    for (;;) {
      const alive = [...this.#groups.members(), this.#innerPid ?? -1].filter(isAlive);
      if (alive.length === 0) return;
      if (performance.now() > deadline) {
        throw new SovereignError(
          "ERR_SANDBOX_SURVIVOR",
          `${alive.length} processes did not die, among them ${String(alive[0])}.`,
          { pid: child.pid ?? -1, alive: alive.length },
        );
      }
      this.#groups.kill();
      for (const pid of alive) killQuietly(pid);
      await sleep(5);
    }
  }

  /** As root without a pids controller, nothing in the kernel limits: count, and kill above. */
  #watchProcesses(): NodeJS.Timeout | undefined {
    if (this.#groups.limitsProcesses || process.getuid?.() !== 0) return undefined;
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

function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
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
