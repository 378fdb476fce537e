import { type ChildProcess, spawn } from "node:child_process";
import type { ToolOptions, TrustedTool } from "./trusted-tool.ts";

export interface ToolLimits {
  /** Standard input; none when absent. */
  readonly input?: Uint8Array;
  /** Told all of standard output whenever there is more: what to tell the tool next; null is all. */
  readonly reply?: (stdout: string) => string | null;
  /** Told which process it is. */
  readonly onStarted?: (pid: number) => void;
  /** More than this on standard output ends the tool. */
  readonly stdoutBytesMax: number;
  readonly timeoutMs: number;
}

export interface ToolRun {
  readonly ended: "exited" | "signalled" | "timeout" | "output_limit" | "not_started";
  readonly status: number | null;
  readonly stdout: Uint8Array;
  /** The end of standard error, as text. */
  readonly stderr: string;
}

const STDERR_CHARS = 8000;

/**
 * Run a trusted tool without waiting in its way: bytes in, bytes out, with a cap on output and
 * time. The tool has a process group of its own, so that all that it started ends with it, and a
 * Ctrl-C on the terminal does not hit it halfway.
 *
 * @returns how it ended; never throws for what the tool does
 */
export function startToolRun(
  _tool: TrustedTool,
  command: string,
  args: readonly string[],
  options: ToolOptions & ToolLimits,
): Promise<ToolRun> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: options.env,
      cwd: options.cwd,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    if (child.pid !== undefined) options.onStarted?.(child.pid);
    const chunks: Buffer[] = [];
    let size = 0;
    let stderr = "";
    let early: ToolRun["ended"] | null = null;
    const stop = (why: ToolRun["ended"]): void => {
      early ??= why;
      killGroup(child);
    };
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
      resolve({ ended: early ?? ended, status, stdout: Buffer.concat(chunks), stderr });
    };
    child.on("error", (error) => {
      stderr = error.message;
      end("not_started", null);
    });
    child.on("close", (status) => {
      end(status === null ? "signalled" : "exited", status);
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
