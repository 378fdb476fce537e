import { mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { type ActionParams, type ErrorCode, SovereignError, type Toolset } from "@sovereign/core";
import { type EgressDoor, type RefusedHost, refusedWords } from "../agents/index.ts";
import { defineEffect, type Effect, type EffectResult } from "../kernel/index.ts";
import { resolveOnDisk } from "../policy/index.ts";
import { type ArtifactStore, type FailedLog, lastLines, wholeLog } from "../runs/index.ts";
import {
  type Sandbox,
  type SandboxEnding,
  type SandboxRequest,
  type SandboxResult,
  usedOf,
} from "../sandbox/index.ts";
import { treeOutput } from "./effect-output.ts";
import { diskProbe } from "./file-effects.ts";
import { withHosts } from "./hosts-way.ts";
import { type CommandTools, gitCovers, searchPath, seenTools, ToolMounts } from "./tool-mounts.ts";
import type { Workspace } from "./workspace.ts";
import { watchWrites } from "./disk-quota.ts";

export interface CommandEffectOptions {
  readonly workspace: Workspace;
  readonly sandbox: Sandbox;
  readonly artifacts: ArtifactStore;
  /** The user's installed libraries, seen read-only at `/node_modules`; null for none. */
  readonly modules: string | null;
  /** What the policy asks for besides; null for nothing. */
  readonly toolset: Toolset | null;
  /** The way to the hosts that policy names; absent or null where it names none. */
  readonly egress?: EgressDoor | null;
  /** Told of the whole output of a command that did not end well. */
  readonly onFailedLog?: (log: FailedLog) => void;
}

/** A command of this kind looks at the tree: nothing that it changes is taken over. */
const VERIFY = "verify";
const MEBIBYTE = 1024 * 1024;
const LOG_CHARS = 500;
/** What a command may leave besides what is judged: products that ignore rules hide. */
const UNJUDGED_BYTES = 256 * MEBIBYTE;

/** Run a command on the run's tree, in the sandbox; then judge what it changed. */
export function createCommandEffect(options: CommandEffectOptions): Effect {
  const { workspace, artifacts, toolset } = options;
  const tools = toolset === null ? null : new ToolMounts(toolset, workspace.root, workspace.folder);
  return defineEffect("command.run", async (invocation) => {
    const { action, context, params: wanted } = invocation;
    const before = treeBefore(wanted);
    await workspace.require(before);
    const prepared = (await tools?.prepare()) ?? null;
    const request = requestOf(options, action.resource, wanted, prepared);
    const uncover = tools?.cover();
    workspace.coverGit();
    const roots = [workspace.root, ...(tools === null ? [] : [tools.copies])] as const;
    const run = (asked: SandboxRequest): Promise<SandboxResult> =>
      runWatched(options, roots, asked, invocation.signal);
    const { end, refused } = await withHosts(options.egress, context, request, run).finally(() => {
      workspace.uncoverGit();
      uncover?.();
    });
    const log = wholeLog(end, request.limits.outputBytes);
    const kept = await artifacts.put(commandLogName(context.step_id), log, "text/plain");
    const tell = (): void => {
      options.onFailedLog?.({ step: context.step_id, ref: kept, lines: lastLines(log) });
    };
    const failure = failureOf(end, refused);
    if (failure !== null) {
      tell();
      return failure;
    }
    const harvest =
      wanted.kind === VERIFY
        ? workspace.leave(before)
        : await workspace.harvest(before, null, context).catch((error: unknown) => {
            tell();
            throw error;
          });
    const found = { exit_code: end.exitCode, ...usedOf(end) };
    return treeOutput(harvest, found, [kept], end.wallMs);
  });
}

/** A command on a repository's tree names the tree. */
function treeBefore({ before }: ActionParams<"command.run">): string {
  if (before !== undefined) return before;
  const text = "command.run action: at before: expected the tree that it starts from";
  throw new SovereignError("ERR_FORMAT_INVALID", text);
}

/** The artifact that holds all that a command of a step said. */
export function commandLogName(stepId: string): string {
  return `03_executor/logs/${stepId}.log`;
}

function requestOf(
  { workspace, modules }: CommandEffectOptions,
  executable: string,
  wanted: ActionParams<"command.run">,
  tools: CommandTools | null,
): SandboxRequest {
  const { limits, root } = workspace;
  const node = { source: realpathSync(process.execPath), target: "/runtime/node" };
  const more = seenTools(tools, modules);
  const seconds = Math.min(wanted.timeout_seconds ?? Infinity, limits.timeoutMs / 1000);
  return {
    argv: [executable, ...wanted.argv],
    cwd: wanted.cwd === "" ? "/workspace" : `/workspace/${folderBelow(root, wanted.cwd)}`,
    readOnly: [node, ...gitCovers(root, workspace.noGit, more), ...more.readOnly],
    writable: [{ source: root, target: "/workspace" }, ...more.writable],
    env: { ...more.env, PATH: searchPath(tools) },
    limits: {
      wallMs: seconds * 1000,
      cpuSeconds: Math.max(1, Math.min(limits.cpuSeconds, Math.ceil(seconds))),
      memoryBytes: limits.memoryBytes,
      processes: limits.processes,
      outputBytes: limits.outputBytes,
      fileBytes: limits.fileBytesMax,
      temporaryFiles: limits.temporaryFiles,
      kernelBytes: limits.kernelBytes,
    },
  };
}

function folderBelow(root: string, cwd: string): string {
  const path = resolveOnDisk(root, cwd, diskProbe);
  mkdirSync(join(root, path), { recursive: true });
  return path;
}

/** Each file's size is limited by the kernel; how much is written altogether is watched. */
function runWatched(
  { workspace, sandbox }: CommandEffectOptions,
  roots: readonly [string, ...string[]],
  request: SandboxRequest,
  signal: AbortSignal,
): Promise<SandboxResult> {
  const { limits } = workspace;
  return watchWrites(roots, limits.totalBytesMax + UNJUDGED_BYTES, (full) =>
    sandbox.run(request, AbortSignal.any([signal, full])),
  );
}

const LIMIT_CODES: Readonly<Partial<Record<SandboxEnding, ErrorCode>>> = {
  wall_clock: "ERR_COMMAND_TIMEOUT",
  cpu_limit: "ERR_COMMAND_CPU",
  memory_limit: "ERR_COMMAND_MEMORY",
  process_limit: "ERR_COMMAND_PROCESSES",
  output_limit: "ERR_COMMAND_OUTPUT",
};

function failureOf(end: SandboxResult, refused: RefusedHost | null): EffectResult | null {
  if (end.ended === "exited" && end.exitCode === 0) return null;
  const log = `${lastOf(end.stderr)} ${lastOf(end.stdout)}`.trim();
  const code = LIMIT_CODES[end.ended];
  const after = `after ${Math.round(end.wallMs)} ms${log === "" ? "" : `: ${log}`}`;
  if (code !== undefined) return { status: "killed", code, reason: `${end.ended} ${after}` };
  if (end.signal === "SIGXFSZ") {
    return { status: "killed", code: "ERR_COMMAND_FILE_SIZE", reason: `file size limit ${after}` };
  }
  if (end.ended === "exited") {
    const more = `${refusedWords(refused)}${missingWords(end.stderr)}`;
    const reason = `exit ${String(end.exitCode)} ${after}${more}`;
    return { status: "failed", code: "ERR_COMMAND_FAILED", reason };
  }
  const reason = `${end.ended} ${end.signal ?? ""} ${after}`;
  return { status: "killed", code: "ERR_EFFECT_KILLED", reason };
}

const NOT_FOUND = /^prlimit: failed to execute (\S{1,200}): No such file or directory$/m;

/** Said of what could not be started, in words that lead on. */
function missingWords(stderr: Uint8Array): string {
  const [, program] = NOT_FOUND.exec(lastOf(stderr)) ?? [];
  if (program === undefined) return "";
  return `. The sandbox does not have ${program}: name what it belongs to in the policy, by presets or mounts`;
}

/** The end of a hostile log, as one printable line. */
function lastOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(-4 * LOG_CHARS)).toString("utf8");
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(-LOG_CHARS);
}
