import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { scopeOf, stoppedNow, type ToolScope, toolsHeld } from "./tool-scope.ts";
import type { ToolOptions, TrustedTool } from "./trusted-tool.ts";

export interface ToolLimits {
  /** Standard input; none when absent. */
  readonly input?: Uint8Array;
  /** Told all of standard output whenever there is more: what to tell the tool next; null is all. */
  readonly reply?: (stdout: string) => string | null;
  /** Told which process it is. */
  readonly onStarted?: (pid: number) => void;
  /** Told that it was killed, each time, when nothing of it lives: what it held may be left. */
  readonly onKilled?: () => void;
  /** More than this on standard output ends the tool. */
  readonly stdoutBytesMax: number;
  readonly timeoutMs: number;
  /** What it may have of its own: files that it maps to read count nothing. */
  readonly memoryBytes?: number;
}

export interface ToolRun {
  /** `stopped`: the kill switch ended it, or kept it from beginning. */
  readonly ended: "exited" | "signalled" | "timeout" | "output_limit" | "not_started" | "stopped";
  readonly status: number | null;
  readonly stdout: Uint8Array;
  /** The end of standard error, as text. */
  readonly stderr: string;
}

const STDERR_CHARS = 8000;
const GIBIBYTE = 1024 ** 3;
/** The largest file that a tool of ours may write. */
const FILE_BYTES = 16 * GIBIBYTE;
/** The sentinel kills by group, and tells us a moment later. */
const HEARD_MS = 500;
/** Who was killed later than this after its start was not killed by a sentinel that starts. */
const SWEPT_MS = 5000;
const TRIES = 3;
const NOT_FOUND = 127;
/** A sentinel that ends takes the groups with it. */
const NOT_JOINED = 125;

/**
 * Joins the control groups and becomes the tool, under limits that what it starts inherits. The
 * groups come first: a tool that could not join does not run. It ends with us, whoever
 * kills us: by a signal at which git takes its locks away.
 */
const SCRIPT = `data=$1 cpu=$2 file=$3 parent=$4 groups=$5; shift 5
while [ "$groups" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 125; shift; groups=$((groups-1)); done
ulimit -c 0; ulimit -d "$data" && ulimit -t "$cpu" && ulimit -f "$file" || exit 125
[ "$PPID" = "$parent" ] || exit 125
exec setpriv --pdeathsig TERM -- "$@"`;

/**
 * Run a trusted tool without waiting in its way: bytes in, bytes out, with a cap on output, memory,
 * time on a processor and time. The tool has a process group of its own, so that all that it started
 * ends with it, and a Ctrl-C on the terminal does not hit it halfway. It ends with the kill switch.
 *
 * @returns how it ended; never throws for what the tool does
 */
export async function startToolRun(
  _tool: TrustedTool,
  command: string,
  args: readonly string[],
  options: ToolOptions & ToolLimits,
): Promise<ToolRun> {
  const held = toolsHeld();
  const stopped = stoppedNow();
  if (stopped !== null) return notBegun(stopped);
  const scope = scopeOf(held);
  const mayRepeat = onlyLooks(held, options);
  for (let tries = 1; ; tries += 1) {
    const begun = performance.now();
    const end = await runOnce([command, ...args], options, scope);
    if (scope === null || !isKilled(end)) return end;
    const short = performance.now() - begun < SWEPT_MS;
    const why = await whyKilled(scope);
    if (why !== null) return { ...end, ended: "stopped", stderr: why };
    // A sentinel that starts kills what may be left of one before it. What only looks does so again.
    if (!mayRepeat || !short || tries === TRIES) return end;
  }
}

function onlyLooks(held: ReturnType<typeof toolsHeld>, { reply }: ToolLimits): boolean {
  return held?.acts === false && reply === undefined;
}

function isKilled({ ended, status }: ToolRun): boolean {
  return ended === "signalled" || status === NOT_JOINED;
}

async function whyKilled(scope: ToolScope): Promise<string | null> {
  for (let waited = 0; scope.killed === null && waited < HEARD_MS; waited += 10) await sleep(10);
  return scope.killed;
}

function notBegun(stderr: string): ToolRun {
  return { ended: "stopped", status: null, stdout: new Uint8Array(), stderr };
}

function start(
  words: readonly string[],
  options: ToolOptions & ToolLimits,
  scope: ToolScope | null,
) {
  const { memoryBytes = GIBIBYTE, timeoutMs } = options;
  // As a POSIX shell counts: KiB, seconds, and blocks of 512 bytes.
  const limits = [memoryBytes / 1024, Math.ceil(timeoutMs / 1000), FILE_BYTES / 512].map(String);
  const { groups, marker } = scope?.place ?? { groups: [], marker: {} };
  const before = [...limits, String(process.pid), String(groups.length), ...groups];
  return spawn("/bin/sh", ["-c", SCRIPT, "sovereign-tool", ...before, ...words], {
    env: { ...options.env, ...marker },
    cwd: options.cwd,
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
}

async function runOnce(
  words: readonly string[],
  options: ToolOptions & ToolLimits,
  scope: ToolScope | null,
): Promise<ToolRun> {
  const end = await runTool(words, options, scope);
  if (end.ended !== "not_started" && end.status === null) options.onKilled?.();
  return end;
}

function runTool(
  words: readonly string[],
  options: ToolOptions & ToolLimits,
  scope: ToolScope | null,
): Promise<ToolRun> {
  return new Promise((resolve) => {
    const child = start(words, options, scope);
    if (child.pid !== undefined) options.onStarted?.(child.pid);
    const chunks: Buffer[] = [];
    let size = 0;
    let stderr = "";
    let early: ToolRun["ended"] | null = null;
    const stop = (why: ToolRun["ended"]): void => {
      early ??= why;
      killGroup(child);
    };
    const forget = scope?.add(() => {
      stop("stopped");
    });
    const timer = setTimeout(() => {
      stop("timeout");
    }, options.timeoutMs);
    child.stdout.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > options.stdoutBytesMax) {
        stop("output_limit");
        return;
      }
      chunks.push(chunk);
      if (options.reply === undefined) return;
      const next = options.reply(Buffer.concat(chunks).toString("utf8"));
      if (next === null) child.stdin.end();
      else child.stdin.write(next);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString("utf8")).slice(-STDERR_CHARS);
    });
    const end = (ended: ToolRun["ended"], status: number | null): void => {
      clearTimeout(timer);
      forget?.();
      const said = early === "stopped" ? (scope?.stopped ?? stderr) : stderr;
      resolve({ ended: early ?? ended, status, stdout: Buffer.concat(chunks), stderr: said });
    };
    child.on("error", (error) => {
      stderr = error.message;
      end("not_started", null);
    });
    child.on("close", (status) => {
      if (status === NOT_FOUND) end("not_started", status);
      else end(status === null ? "signalled" : "exited", status);
    });
    // A tool that stops reading early says by its end what is wrong.
    child.stdin.on("error", () => undefined);
    if (options.reply === undefined) child.stdin.end(options.input ?? "");
    else child.stdin.write(options.input ?? "");
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
