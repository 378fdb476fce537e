import { lstatSync, mkdirSync, mkdtempSync, realpathSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import { SovereignError } from "@sovereign/core";
import { RELAY, START_HELPER } from "../agents/index.ts";
import {
  type CommandTools,
  gitCovers,
  searchPath,
  seenTools,
  watchWrites,
  type WorkLimits,
} from "../executor/index.ts";
import type { Mount, Sandbox, SandboxRequest, SandboxResult } from "../sandbox/index.ts";
import type { AgentProgram, PreparedAgent } from "./adapter.ts";
import { INSIDE, NODE, PROGRAMS } from "./inside-paths.ts";
import { LineReader } from "./lines.ts";

/** A whole session's lines of JSON, with what tools said. */
const OUTPUT_BYTES = 256 * 1024 * 1024;

const MEBIBYTE = 1024 * 1024;
/** What it may leave besides what is judged: products that ignore rules hide. */
const UNJUDGED_BYTES = 256 * MEBIBYTE;

/** What is the same for the canary and for the work. */
export interface AgentHouse {
  readonly program: AgentProgram;
  readonly workspace: {
    readonly root: string;
    /** An empty folder: what the agent sees as `.git`. */
    readonly noGit: string;
    readonly limits: WorkLimits;
  };
  /** What policy mounts for commands; null where it names nothing. */
  readonly mounted: CommandTools | null;
  /** The user's installed libraries, seen read-only at `/node_modules`; null for none. */
  readonly modules: string | null;
}

/** What differs between the two. */
export interface AgentPart {
  /** A folder of ours for what this part is given, and one for both parts. */
  readonly folder: string;
  readonly place: string;
  /** Where it keeps its conversation. */
  readonly state: string;
  /** The folder of the run's sockets. */
  readonly sockets: string;
  /** What listens on the loopback, with its words. */
  readonly program: readonly string[];
  /** What tells the agent's programs of the way to hosts. */
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  readonly wallMs: number;
  /** Shell words after the agent's end. */
  readonly then: string;
}

/** An agent in its sandbox: the tree alone can be written to, and the loopback is all the network. */
export function agentRequest(
  { workspace, program, mounted, modules }: AgentHouse,
  prepared: PreparedAgent,
  part: AgentPart,
): SandboxRequest {
  const { limits, root, noGit } = workspace;
  const seen = seenTools(mounted, modules);
  const script = `${START_HELPER}"$@"\ncode=$?\n${part.then}\n${END}`;
  return {
    argv: ["/bin/sh", "-c", script, "sh", ...NODE, ...part.program, "--", ...prepared.argv],
    cwd: "/workspace",
    readOnly: [
      { source: realpathSync(process.execPath), target: "/runtime/node" },
      ...mountOf(program),
      RELAY,
      ...PROGRAMS,
      { source: part.sockets, target: INSIDE.sockets, own: true },
      ...filesOf(prepared, part.folder),
      ...masksOf(prepared, root, part.place),
      ...gitCovers(root, noGit, seen),
      ...seen.readOnly,
      ...part.mounts,
    ],
    writable: [
      { source: root, target: "/workspace" },
      { source: part.state, target: INSIDE.session },
      ...seen.writable,
    ],
    // Ours come last: policy's words for tools change neither the model nor the proxies.
    env: { ...seen.env, PATH: searchPath(mounted), ...part.env, ...prepared.env },
    stdin: Buffer.from(prepared.stdin),
    limits: {
      wallMs: part.wallMs,
      cpuSeconds: Math.max(1, limits.cpuSeconds),
      memoryBytes: limits.memoryBytes,
      processes: limits.processes,
      outputBytes: OUTPUT_BYTES,
      fileBytes: limits.fileBytesMax,
      temporaryFiles: limits.temporaryFiles,
      kernelBytes: limits.kernelBytes,
    },
  };
}

/** A socket's path has at most 107 bytes, and a data folder's may have more. */
export function shortFolder(): string {
  return mkdtempSync(join(tmpdir(), "sov-"));
}

/** Start it, and hear what it says line by line. How much it writes altogether is watched. */
export function launchAgent(
  { workspace }: Pick<AgentHouse, "workspace">,
  sandbox: Sandbox,
  request: SandboxRequest,
  signal: AbortSignal,
  onLine: (line: string) => void,
  more: readonly string[] = [],
): Promise<SandboxResult> {
  const { root, limits } = workspace;
  const lines = new LineReader(onLine);
  return watchWrites([root, ...more], limits.totalBytesMax + UNJUDGED_BYTES, (full) =>
    sandbox.run(request, AbortSignal.any([signal, full]), (bytes) => {
      lines.push(bytes);
    }),
  );
}

/** Exit code of a sandbox whose relay had ended before the agent did. */
export const HELPER_GONE = 98;

/**
 * The agent's end is that of the sandbox. An agent that was killed ends it as one that was killed. A
 * process that was killed and not yet waited for has no program, so `exe` leads nowhere.
 */
const END = `[ $code -lt 129 ] || kill -9 $$
[ -e /proc/$helper/exe ] || exit ${HELPER_GONE}
exit $code
`;

function mountOf({ path, mountedAt, beside }: AgentProgram): Mount[] {
  if (mountedAt === null) return [];
  const others = beside.map((name) => ({
    source: join(dirname(path), name),
    target: join(dirname(mountedAt), name),
  }));
  return [{ source: path, target: mountedAt }, ...others];
}

/** Our files, a mount for each folder: below are folders that hold nothing else. */
function filesOf({ files }: PreparedAgent, folder: string): Mount[] {
  const targets = [...new Set(Object.keys(files).map((path) => posix.dirname(path)))];
  const mounts = targets.map((target, at) => {
    const source = join(folder, `files-${at}`);
    mkdirSync(source, { mode: 0o755 });
    return { source, target, own: true };
  });
  for (const [path, content] of Object.entries(files)) {
    const place = mounts.find(({ target }) => target === posix.dirname(path));
    if (place === undefined) continue;
    writeFileSync(join(place.source, posix.basename(path)), content, { mode: 0o644 });
  }
  return mounts;
}

/**
 * What of the repository would configure the agent is not seen. A link is left alone, unless the agent
 * would run what it leads to: what is mounted over it would stand there.
 *
 * @throws ERR_AGENT_HOOK
 */
function masksOf(
  { masked, needsMasks = false }: PreparedAgent,
  root: string,
  place: string,
): Mount[] {
  const folder = join(place, "nothing");
  const file = join(place, "nothing.txt");
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  writeFileSync(file, "", { mode: 0o644 });
  return masked.flatMap((name) => {
    const found = lstatSync(join(root, name), { throwIfNoEntry: false });
    if (found?.isSymbolicLink() === true && needsMasks) throw unmasked(name);
    if (found === undefined || found.isSymbolicLink()) return [];
    const source = found.isDirectory() ? folder : file;
    return [{ source, target: `/workspace/${name}`, own: true }];
  });
}

function unmasked(name: string): SovereignError {
  const text = `The agent may not work: it would run what the repository has in ${name}, which is a link and cannot be hidden. Remove the link, or make it a folder.`;
  return new SovereignError("ERR_AGENT_HOOK", text);
}
