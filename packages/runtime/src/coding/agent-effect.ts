import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type ActionParams,
  cutText,
  type ErrorCode,
  type JsonObject,
  SovereignError,
} from "@sovereign/core";
import { watchWrites, type Workspace } from "../executor/index.ts";
import { defineEffect, type Effect, type EffectResult, type Invocation } from "../kernel/index.ts";
import {
  type Mount,
  type Sandbox,
  type SandboxRequest,
  type SandboxResult,
  usedOf,
} from "../sandbox/index.ts";
import { newId, systemEntropy } from "../system/index.ts";
import type {
  AgentAdapter,
  AgentEvent,
  AgentProgram,
  PreparedAgent,
  ToolAnswer,
} from "./adapter.ts";
import { HookServer } from "./hook-server.ts";
import { INSIDE, MODEL_PORT, NODE } from "./inside-paths.ts";
import { LineReader } from "./lines.ts";
import type { ToolCalls, ToolSession } from "./tool-calls.ts";

/** The model that an agent of one run speaks to. */
export interface ModelDoor {
  /** Makes the socket at a path, for whoever has the token. */
  open(socket: string): Promise<{ readonly token: string; close(): Promise<void> }>;
}

/** Told as an agent works, for people who watch. What it says is untrusted. */
export type AgentProgress =
  | { readonly event: "agent.started"; readonly agent: string; readonly version: string }
  | { readonly event: "agent.text"; readonly text: string }
  | {
      readonly event: "agent.tool";
      readonly tool: string;
      readonly allowed: boolean;
      readonly reason: string;
    };

export interface AgentEffectOptions {
  readonly adapter: AgentAdapter;
  readonly program: AgentProgram;
  readonly programDigest: string;
  readonly workspace: Workspace;
  readonly sandbox: Sandbox;
  readonly calls: ToolCalls;
  readonly model: ModelDoor;
  /** The tools that policy names. */
  readonly tools: readonly string[];
  /** The task's text by its SHA-256. */
  readonly task: (sha256: string) => Uint8Array | null;
  /** The user's installed libraries, seen read-only at `/node_modules`; null for none. */
  readonly modules: string | null;
  /** A folder of this run, for what the sandbox is given. */
  readonly folder: string;
  readonly onProgress: (progress: AgentProgress) => void;
}

const MEBIBYTE = 1024 * 1024;
/** A whole session's lines of JSON, with what tools said. */
const OUTPUT_BYTES = 256 * MEBIBYTE;
const UNJUDGED_BYTES = 256 * MEBIBYTE;
const CANARY_MS = 60_000;
const CANARY_FILE = "/tmp/canary-ran";
const TEXT_CHARS = 2000;

/** Have an agent work on the run's tree, in the sandbox; then judge what it changed. */
export function createAgentEffect(options: AgentEffectOptions): Effect {
  const { workspace } = options;
  return defineEffect("agent.run", async (invocation) => {
    const { params: wanted, context } = invocation;
    await workspace.require(wanted.before);
    const place = placeOf(options, invocation);
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place, { recursive: true, mode: 0o700 });
    workspace.coverGit();
    try {
      const session = new AgentSession(options, invocation, wanted, place);
      await session.proveHook();
      const failure = await session.work();
      if (failure !== null) return failure;
      workspace.uncoverGit();
      const { tree, changes, hostRun } = await workspace.harvest(wanted.before, null, context);
      const ci = hostRun.length === 0 ? {} : { ci_files: [...hostRun] };
      const output = { ...session.told(), ...ci, tree, files_changed: changes.length };
      const usage = { wall_ms: Math.round(session.wallMs), output_bytes: 0 };
      return { status: "completed", output, artifacts: [], usage };
    } finally {
      options.calls.end();
      workspace.uncoverGit();
      rmSync(place, { recursive: true, force: true });
    }
  });
}

/** A socket's path has at most 107 bytes, and a data folder's may have more. */
function shortFolder(): string {
  return mkdtempSync(join(tmpdir(), "sov-"));
}

function placeOf({ folder }: AgentEffectOptions, { context }: Invocation): string {
  return join(folder, `a${context.attempt}`);
}

type Wanted = ActionParams<"agent.run">;

/** One agent at work: first with a made-up model, to see that it asks; then with the real one. */
class AgentSession {
  readonly #options: AgentEffectOptions;
  readonly #invocation: Invocation;
  readonly #wanted: Wanted;
  readonly #place: string;
  readonly #events: AgentEvent[] = [];
  readonly #answers: ToolAnswer[] = [];
  readonly #ended = new Set<string>();
  #end: SandboxResult | null = null;
  wallMs = 0;

  constructor(options: AgentEffectOptions, invocation: Invocation, wanted: Wanted, place: string) {
    this.#options = options;
    this.#invocation = invocation;
    this.#wanted = wanted;
    this.#place = place;
  }

  /**
   * INVARIANT: no agent works whose hook was not seen to be asked, and to be obeyed, in the same
   * sandbox right before.
   * @throws ERR_AGENT_HOOK
   */
  async proveHook(): Promise<void> {
    const { adapter } = this.#options;
    const id = newId("toolu_canary_", systemEntropy);
    const asked: string[] = [];
    const folder = this.#folder("canary");
    const { first, second } = adapter.canary(id, CANARY_FILE);
    const answers = this.#folder("canary/answers");
    writeFileSync(join(answers, "first"), first);
    writeFileSync(join(answers, "second"), second);
    const hooks = new HookServer((body) => {
      const call = adapter.hook(body);
      if (call === null) return Promise.reject(new Error("no hook that we know"));
      if (call.phase === "before") asked.push(call.id);
      const reason = "this call only proves that it is asked";
      const answer = { id: call.id, tool: call.tool, allowed: false, reason };
      return Promise.resolve({ word: "deny", answer: adapter.answer(call, answer) });
    });
    const sockets = shortFolder();
    await hooks.listen(join(sockets, "hooks.sock"));
    const events: AgentEvent[] = [];
    try {
      const prepared = adapter.prepare({ ...this.#task("canary"), prompt: "canary" });
      const request = this.#request(prepared, folder, {
        sockets,
        program: [INSIDE.canaryModel, String(MODEL_PORT), INSIDE.canaryAnswers],
        mounts: [{ source: answers, target: INSIDE.canaryAnswers, own: true }],
        wallMs: CANARY_MS,
        then: `[ -e ${CANARY_FILE} ] && exit 99`,
      });
      const end = await this.#launch(request, (line) => events.push(...adapter.parse(line)));
      this.wallMs += end.wallMs;
      requireProof(end, asked, id, events);
    } finally {
      hooks.close();
      rmSync(sockets, { recursive: true, force: true });
    }
  }

  /** @returns null where it ended well */
  async work(): Promise<EffectResult | null> {
    const { adapter, calls, model, program, onProgress } = this.#options;
    const { context, signal } = this.#invocation;
    const broken = new AbortController();
    const session: ToolSession = {
      adapter,
      prefix: `call.${context.attempt}`,
      role: context.role,
      onAnswer: (answer) => {
        this.#answers.push(answer);
        onProgress({ event: "agent.tool", ...answer });
      },
      onEnd: (id) => {
        this.#ended.add(id);
      },
      onBroken: (error) => {
        broken.abort(error);
      },
    };
    const folder = this.#folder("work");
    const sockets = shortFolder();
    const hooks = new HookServer((body) => calls.answer(session, body));
    await hooks.listen(join(sockets, "hooks.sock"));
    const door = await model.open(join(sockets, "model.sock"));
    try {
      onProgress({ event: "agent.started", agent: adapter.name, version: program.version });
      const request = this.#request(adapter.prepare(this.#task(door.token)), folder, {
        sockets,
        program: [INSIDE.relay, String(MODEL_PORT), INSIDE.modelSocket],
        mounts: [],
        wallMs: this.#wallMs(),
        then: "",
      });
      const read = (line: string): void => {
        this.#read(line, broken);
      };
      const ended = AbortSignal.any([signal, broken.signal]);
      this.#end = await this.#launch(request, read, ended);
      this.wallMs += this.#end.wallMs;
      return this.#judge(this.#end, broken.signal);
    } finally {
      hooks.close();
      await door.close();
      rmSync(sockets, { recursive: true, force: true });
    }
  }

  /** What the outcome says of it. What the agent says of itself is named a claim. */
  told(): JsonObject {
    const { adapter, program, programDigest } = this.#options;
    const result = this.#events.findLast((one) => one.kind === "result");
    const claims =
      result === undefined
        ? null
        : {
            text: cutText(result.text, TEXT_CHARS),
            turns: result.turns,
            input_tokens: result.inputTokens,
            output_tokens: result.outputTokens,
          };
    return {
      agent: adapter.name,
      version: program.version,
      program_sha256: programDigest,
      calls_allowed: this.#answers.filter((one) => one.allowed).length,
      calls_denied: this.#answers.filter((one) => !one.allowed).length,
      claims,
      ...(this.#end === null ? {} : usedOf(this.#end)),
    };
  }

  #read(line: string, broken: AbortController): void {
    const { adapter, onProgress } = this.#options;
    for (const event of adapter.parse(line)) {
      if (event.kind === "other") continue;
      this.#events.push(event);
      if (event.kind === "text" && event.text.trim() !== "") {
        onProgress({ event: "agent.text", text: cutText(event.text, TEXT_CHARS) });
      }
      // A call that was carried out and never asked for: the hooks are not what they were.
      if (event.kind === "tool_result" && !event.isError && !this.#isAllowed(event.id)) {
        broken.abort(unasked());
      }
    }
  }

  #isAllowed(id: string): boolean {
    return this.#answers.some((one) => one.allowed && one.id === id);
  }

  #judge(end: SandboxResult, broken: AbortSignal): EffectResult | null {
    if (broken.aborted) {
      const error: unknown = broken.reason;
      if (error instanceof SovereignError) {
        return { status: "failed", code: error.code, reason: error.message };
      }
      const reason = error instanceof Error ? error.message : "the run cannot go on";
      return { status: "failed", code: "ERR_AGENT_FAILED", reason };
    }
    if (end.ended !== "exited") {
      const code = LIMIT_CODES[end.ended] ?? "ERR_EFFECT_KILLED";
      const after = `${end.ended} after ${Math.round(end.wallMs)} ms`;
      return { status: "killed", code, reason: `the agent was ended: ${after}` };
    }
    const { adapter } = this.#options;
    const { exitCode } = end;
    const told = { exitCode, events: this.#events, answers: this.#answers, ended: this.#ended };
    const outcome = adapter.classify(told);
    if (exitCode === HELPER_GONE) {
      const reason = `${adapter.name}: the relay to its model was killed before the agent ended`;
      return { status: "failed", code: "ERR_AGENT_FAILED", reason };
    }
    if (outcome.ok) return null;
    const last = outcome.code === "ERR_AGENT_FAILED" ? lastOf(end.stderr) : "";
    const said = last === "" ? "" : `; ${last}`;
    return {
      status: "failed",
      code: outcome.code,
      reason: `${adapter.name}: ${outcome.reason}${said}`,
    };
  }

  #wallMs(): number {
    const { timeoutMs } = this.#options.workspace.limits;
    return Math.min(timeoutMs, (this.#wanted.timeout_seconds ?? Infinity) * 1000);
  }

  #task(token: string): Parameters<AgentAdapter["prepare"]>[0] {
    const { model, sha256 } = this.#wanted;
    const bytes = this.#options.task(sha256);
    if (bytes === null) throw new SovereignError("ERR_RUN_DIVERGED", "The task's text is gone.");
    const prompt = Buffer.from(bytes).toString("utf8");
    return { prompt, model, tools: this.#options.tools, token };
  }

  #folder(name: string): string {
    const path = join(this.#place, name);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  #request(
    prepared: PreparedAgent,
    folder: string,
    part: {
      readonly sockets: string;
      readonly program: readonly string[];
      readonly mounts: readonly Mount[];
      readonly wallMs: number;
      readonly then: string;
    },
  ): SandboxRequest {
    const { workspace, program, adapter, modules } = this.#options;
    const { limits, root, noGit } = workspace;
    const libraries: Mount[] =
      modules !== null && existsSync(modules) ? [{ source: modules, target: "/node_modules" }] : [];
    const [helper = "", ...words] = part.program;
    const script = `${START}${part.then}\n${END}`;
    return {
      argv: ["/bin/sh", "-c", script, "sh", helper, ...words, "--", ...prepared.argv],
      cwd: "/workspace",
      readOnly: [
        { source: realpathSync(process.execPath), target: "/runtime/node" },
        { source: program.path, target: adapter.mountedAt },
        ...PROGRAMS.map(([source, target]) => ({ source, target })),
        { source: part.sockets, target: INSIDE.sockets, own: true },
        ...filesOf(prepared, folder),
        ...masksOf(prepared, root, this.#place),
        ...libraries,
        { source: noGit, target: "/workspace/.git" },
        ...part.mounts,
      ],
      writable: [{ source: root, target: "/workspace" }],
      env: { PATH: "/runtime:/usr/bin:/bin", ...prepared.env },
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

  #launch(
    request: SandboxRequest,
    onLine: (line: string) => void,
    signal: AbortSignal = this.#invocation.signal,
  ): Promise<SandboxResult> {
    const { workspace, sandbox } = this.#options;
    const { root, limits } = workspace;
    const lines = new LineReader(onLine);
    return watchWrites([root], limits.totalBytesMax + UNJUDGED_BYTES, (full) =>
      sandbox.run(request, AbortSignal.any([signal, full]), (bytes) => {
        lines.push(bytes);
      }),
    );
  }
}

/**
 * Its words: the program that listens on the loopback, with its own words, `--`, and the agent's. The
 * agent begins when that program listens.
 */
const START = `mkfifo /tmp/ready || exit 125
set -f; helper=; while [ "$1" != -- ]; do helper="$helper $1"; shift; done; shift
${NODE.join(" ")} $helper >/tmp/ready </dev/null 2>/dev/null &
helper=$!
read -r word </tmp/ready && [ "$word" = ready ] || exit 125
rm /tmp/ready
"$@"
code=$?
`;

/** Exit code of a sandbox whose relay had ended before the agent did. */
const HELPER_GONE = 98;

/**
 * The agent's end is that of the sandbox. An agent that was killed ends it as one that was killed. A
 * process that was killed and not yet waited for has no program, so `exe` leads nowhere.
 */
const END = `[ $code -lt 129 ] || kill -9 $$
[ -e /proc/$helper/exe ] || exit ${HELPER_GONE}
exit $code
`;

/** As source or built, whichever we are ourselves. */
const PROGRAMS = [
  ["relay", INSIDE.relay],
  ["hook", INSIDE.hook],
  ["canary-model", INSIDE.canaryModel],
].map(([name = "", target = ""]) => {
  const source = fileURLToPath(new URL(`./inside/${name}.ts`, import.meta.url));
  const built = fileURLToPath(new URL(`./inside/${name}.js`, import.meta.url));
  return [existsSync(source) ? source : built, target] as const;
});

/** Each of our files by itself, below folders that hold nothing else. */
function filesOf({ files }: PreparedAgent, folder: string): Mount[] {
  return Object.entries(files).map(([target, content], at) => {
    const name = target.slice(target.lastIndexOf("/") + 1);
    const own = join(folder, `files-${at}`);
    mkdirSync(own, { mode: 0o755 });
    writeFileSync(join(own, name), content, { mode: 0o644 });
    return { source: own, target: target.slice(0, -name.length - 1), own: true };
  });
}

/**
 * What of the repository would configure the agent is not seen. A link is left alone: what is mounted
 * over it would stand where it leads to.
 */
function masksOf({ masked }: PreparedAgent, root: string, place: string): Mount[] {
  const folder = join(place, "nothing");
  const file = join(place, "nothing.txt");
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  writeFileSync(file, "", { mode: 0o644 });
  return masked.flatMap((name) => {
    const found = lstatSync(join(root, name), { throwIfNoEntry: false });
    if (found === undefined || found.isSymbolicLink()) return [];
    const source = found.isDirectory() ? folder : file;
    return [{ source, target: `/workspace/${name}`, own: true }];
  });
}

function requireProof(
  end: SandboxResult,
  asked: readonly string[],
  id: string,
  events: readonly AgentEvent[],
): void {
  const denied = events.some((one) => one.kind === "tool_result" && one.id === id && one.isError);
  const ran = end.exitCode === 99;
  if (asked.includes(id) && denied && !ran && end.ended === "exited") return;
  const why = ran
    ? "it carried out a tool call that was denied"
    : !asked.includes(id)
      ? `it did not ask (${end.ended}, exit ${String(end.exitCode)}: ${lastOf(end.stderr)})`
      : `it did not take the denial (${end.ended}, exit ${String(end.exitCode)})`;
  const text = `The agent may not work: before its work it was given a tool call that is denied, and ${why}. Check the installed version with: sovereign agent doctor`;
  throw new SovereignError("ERR_AGENT_HOOK", text);
}

function unasked(): SovereignError {
  const text = "The agent carried out a tool call that it had not asked for, and was ended.";
  return new SovereignError("ERR_AGENT_HOOK", text);
}

const LIMIT_CODES: Readonly<Partial<Record<SandboxResult["ended"], ErrorCode>>> = {
  wall_clock: "ERR_COMMAND_TIMEOUT",
  cpu_limit: "ERR_COMMAND_CPU",
  memory_limit: "ERR_COMMAND_MEMORY",
  process_limit: "ERR_COMMAND_PROCESSES",
  output_limit: "ERR_COMMAND_OUTPUT",
};

/** The end of a hostile log, as one printable line. */
function lastOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(-4000)).toString("utf8");
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(-500);
}
