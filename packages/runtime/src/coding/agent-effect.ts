import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type ActionParams,
  type ArtifactRef,
  cutText,
  type ErrorCode,
  type JsonObject,
  SovereignError,
  type Toolset,
} from "@sovereign/core";
import {
  EGRESS,
  type EgressDoor,
  egressVariables,
  type OpenEgress,
  type RefusedHost,
  RELAY,
} from "../agents/index.ts";
import { type CommandTools, ToolMounts, type Workspace } from "../executor/index.ts";
import { defineEffect, type Effect, type EffectResult, type Invocation } from "../kernel/index.ts";
import type { ArtifactStore } from "../runs/index.ts";
import { type Sandbox, type SandboxRequest, type SandboxResult, usedOf } from "../sandbox/index.ts";
import { makeOwnFolder } from "../system/index.ts";
import {
  type AgentAdapter,
  type AgentEvent,
  type AgentProgram,
  type AgentTask,
  isInstalled,
  type ToolAnswer,
} from "./adapter.ts";
import { claimsOf, failureOfAgent } from "./agent-end.ts";
import { type AgentPart, agentRequest, launchAgent, shortFolder } from "./agent-sandbox.ts";
import { HookServer } from "./hook-server.ts";
import { INSIDE, MODEL_PORT } from "./inside-paths.ts";
import { AskedCalls } from "./judge-calls.ts";
import { type KeptSession, SessionKeeper } from "./kept-session.ts";
import { proveHooks } from "./prove-hooks.ts";
import type { ToolCalls, ToolSession } from "./tool-calls.ts";
import { Transcript } from "./transcript.ts";

/** The model that an agent of one run speaks to. */
export interface ModelDoor {
  /** Makes the socket at a path, for whoever has the token. */
  open(socket: string): Promise<{
    readonly token: string;
    /** Why the last call was not let through; null where it was. */
    refusal?(): { readonly code: ErrorCode; readonly reason: string } | null;
    close(): Promise<void>;
  }>;
}

/** Told as an agent works, for people who watch. What it says is untrusted. */
export type AgentProgress =
  | {
      readonly event: "agent.started";
      readonly agent: string;
      readonly version: string;
      /** Whether it goes on with the conversation of an attempt that was killed. */
      readonly session: "new" | "continued" | "again";
    }
  | { readonly event: "agent.text"; readonly text: string }
  | {
      readonly event: "agent.tool";
      readonly tool: string;
      readonly allowed: boolean;
      readonly reason: string;
    }
  /** The branch of the result stays, because it is not, or not only, ours any more. */
  | { readonly event: "agent.branch_kept"; readonly branch: string; readonly why: string };

export interface AgentEffectOptions {
  readonly adapter: AgentAdapter;
  readonly program: AgentProgram;
  readonly programDigest: string;
  readonly workspace: Workspace;
  readonly sandbox: Sandbox;
  readonly calls: ToolCalls;
  readonly model: ModelDoor;
  /** The way to the hosts that policy names; absent or null where it names none. */
  readonly egress?: EgressDoor | null;
  /** The tools that policy names. */
  readonly tools: readonly string[];
  /** The task's text by its SHA-256. */
  readonly task: (sha256: string) => Uint8Array | null;
  /** The user's installed libraries, seen read-only at `/node_modules`; null for none. */
  readonly modules: string | null;
  /** What policy mounts for commands, which the agent sees, too; null where it names nothing. */
  readonly toolset: Toolset | null;
  /** Where a transcript is kept, if the task asks for one. */
  readonly artifacts: ArtifactStore;
  /** What is secret, besides the tokens of the run. */
  readonly secrets: readonly string[];
  /** Told of the transcript of an agent that did not end well. */
  readonly onTranscript: (ref: ArtifactRef) => void;
  /** A folder of this run, for what the sandbox is given. */
  readonly folder: string;
  readonly onProgress: (progress: AgentProgress) => void;
}

type OpenDoor = Awaited<ReturnType<ModelDoor["open"]>>;

const TEXT_CHARS = 2000;

/** Have an agent work on the run's tree, in the sandbox; then judge what it changed. */
export function createAgentEffect(options: AgentEffectOptions): Effect {
  const { workspace, adapter, toolset } = options;
  const mounts =
    toolset === null ? null : new ToolMounts(toolset, workspace.root, workspace.folder);
  return defineEffect("agent.run", async (invocation) => {
    const { params: wanted, context } = invocation;
    const place = placeOf(options, invocation);
    rmSync(place, { recursive: true, force: true });
    makeOwnFolder(place);
    const keeper = new SessionKeeper(options.folder, adapter.keeps ?? null);
    const earlier = await keeper.find(adapter.name, options.programDigest);
    await workspace.require(wanted.before);
    if (earlier !== null) await workspace.takeOver(earlier.root);
    const mounted = (await mounts?.prepare()) ?? null;
    const copies = mounts === null ? [] : [mounts.copies];
    const covers = new Covers(workspace, mounts);
    covers.lay();
    try {
      const house = { ...options, mounted, copies, keeper };
      const { session, failure } = await haveWork(house, invocation, place, earlier, covers);
      const kept = await session.keepTranscript();
      if (failure !== null) {
        for (const ref of kept) options.onTranscript(ref);
        return failure;
      }
      covers.lift();
      const { tree, changes, hostRun } = await workspace.harvest(wanted.before, null, context);
      const ci = hostRun.length === 0 ? {} : { ci_files: [...hostRun] };
      const output = { ...session.told(), ...ci, tree, files_changed: changes.length };
      const usage = { wall_ms: Math.round(session.wallMs), output_bytes: 0 };
      return { status: "completed", output, artifacts: kept, usage };
    } finally {
      options.calls.end();
      covers.lift();
      rmSync(place, { recursive: true, force: true });
    }
  });
}

/** What lies over names of the tree while the agent works. */
class Covers {
  readonly #workspace: Workspace;
  readonly #mounts: ToolMounts | null;
  #liftTools: (() => void) | null = null;

  constructor(workspace: Workspace, mounts: ToolMounts | null) {
    this.#workspace = workspace;
    this.#mounts = mounts;
  }

  lay(): void {
    this.#liftTools = this.#mounts?.cover() ?? null;
    this.#workspace.coverGit();
  }

  lift(): void {
    this.#workspace.uncoverGit();
    this.#liftTools?.();
  }
}

/** See that it asks; then have it go on with its conversation, or where it cannot, begin. */
async function haveWork(
  house: House,
  invocation: Invocation & { readonly params: Wanted },
  place: string,
  earlier: KeptSession | null,
  covers: Covers,
): Promise<{ readonly session: AgentSession; readonly failure: EffectResult | null }> {
  const { params: wanted } = invocation;
  const provedMs = await proved(house, invocation, wanted, place);
  let session = new AgentSession(house, invocation, wanted, place);
  let failure = await session.work(earlier);
  if (failure !== null && session.hasNotGoneOn()) {
    await house.workspace.require(wanted.before);
    covers.lay();
    session = new AgentSession(house, invocation, wanted, place, "again");
    failure = await session.work(null);
  }
  session.wallMs += provedMs;
  return { session, failure };
}

/** The artifact that holds what an agent printed. */
export function transcriptName(stepId: string): string {
  return `03_executor/transcripts/${stepId}.jsonl`;
}

/**
 * INVARIANT: no agent whose hooks are `proved` works whose hook was not seen to be asked, and to be
 * obeyed, in the same sandbox right before.
 */
async function proved(
  house: House,
  { signal }: Invocation,
  { model }: Wanted,
  folder: string,
): Promise<number> {
  const { adapter } = house;
  return isInstalled(adapter) ? proveHooks({ ...house, adapter, model, folder, signal }) : 0;
}

function placeOf({ folder }: AgentEffectOptions, { context }: Invocation): string {
  return join(folder, `a${context.attempt}`);
}

type Wanted = ActionParams<"agent.run">;

interface House extends AgentEffectOptions {
  readonly mounted: CommandTools | null;
  /** Folders of tools that are written to, beside the tree. */
  readonly copies: readonly string[];
  readonly keeper: SessionKeeper;
}

/** One agent at work, which was seen to ask where that can be seen. */
class AgentSession {
  readonly #options: House;
  readonly #invocation: Invocation;
  readonly #wanted: Wanted;
  readonly #place: string;
  readonly #events: AgentEvent[] = [];
  readonly #answers: ToolAnswer[] = [];
  readonly #ended: string[] = [];
  readonly #asked = new AskedCalls();
  /** The last that it said. */
  #text = "";
  #end: SandboxResult | null = null;
  wallMs = 0;
  #transcript: Transcript | null = null;
  #kept: KeptSession | null = null;
  #state: "new" | "continued" | "again";

  constructor(
    options: House,
    invocation: Invocation,
    wanted: Wanted,
    place: string,
    state: "new" | "again" = "new",
  ) {
    // What was asked of an earlier attempt is asked again.
    this.#state = invocation.context.attempt > 1 ? "again" : state;
    this.#options = options;
    this.#invocation = invocation;
    this.#wanted = wanted;
    this.#place = place;
  }

  /** It was to go on with a conversation, and ended before it did anything. */
  hasNotGoneOn(): boolean {
    const said = this.#events.some(({ kind }) => kind.startsWith("tool") || kind === "started");
    const isEnd = this.#end?.ended === "exited" && !this.#invocation.signal.aborted;
    return this.#kept !== null && isEnd && !said && this.#text === "" && this.#answers.length === 0;
  }

  /**
   * @param kept the conversation to go on with; null for a new one
   * @returns null where it ended well
   */
  async work(kept: KeptSession | null): Promise<EffectResult | null> {
    const { adapter, calls, model, egress, program, keeper, onProgress } = this.#options;
    const folder = await this.#begin(kept);
    const { context, signal } = this.#invocation;
    const broken = new AbortController();
    const session = this.#toolSession(broken);
    const sockets = shortFolder();
    const hooks = new HookServer((body) => calls.answer(session, body));
    const doors: OpenDoor[] = [];
    let way: OpenEgress | null = null;
    try {
      await hooks.listen(join(sockets, "hooks.sock"));
      const door = await model.open(join(sockets, "model.sock"));
      doors.push(door);
      way = (await egress?.open(join(sockets, EGRESS.socket), context)) ?? null;
      const hosts = way === null ? [] : EGRESS.relayWords;
      const { name: agent } = adapter;
      const { version } = program;
      onProgress({ event: "agent.started", agent, version, session: this.#state });
      const request = this.#request(this.#task(door.token), folder, {
        sockets,
        state: keeper.state,
        program: [RELAY.target, String(MODEL_PORT), INSIDE.modelSocket, ...hosts],
        env: way === null ? {} : egressVariables(way.token),
        mounts: [],
        wallMs: this.#wallMs(),
        then: "",
      });
      this.#beginTranscript([door.token, way?.token ?? ""]);
      const read = (line: string): void => {
        this.#transcript?.push(line);
        this.#read(line, broken);
      };
      const ended = AbortSignal.any([signal, broken.signal]);
      const { sandbox, copies } = this.#options;
      this.#end = await launchAgent(this.#options, sandbox, request, ended, read, [
        keeper.state,
        ...copies,
      ]);
      this.wallMs += this.#end.wallMs;
      const told = { events: this.#events, answers: this.#answers, ended: this.#ended };
      const host = await closed(way);
      way = null;
      const refused = { model: door.refusal?.() ?? null, host };
      return failureOfAgent(adapter, this.#end, told, broken.signal, refused);
    } finally {
      hooks.close();
      await way?.close();
      for (const door of doors) await door.close();
      rmSync(sockets, { recursive: true, force: true });
    }
  }

  /** @returns its own folder: an attempt to go on may be followed by a new beginning */
  async #begin(kept: KeptSession | null): Promise<string> {
    this.#kept = kept;
    if (kept !== null) {
      this.#state = "continued";
      return this.#folder("resumed");
    }
    await this.#options.keeper.begin();
    return this.#folder("work");
  }

  /** What its hooks are answered by. */
  #toolSession(broken: AbortController): ToolSession {
    const { adapter, onProgress } = this.#options;
    const { context } = this.#invocation;
    return {
      adapter,
      prefix: `call.${context.attempt}`,
      role: context.role,
      onAnswer: (answer) => {
        this.#answers.push(answer);
        this.#asked.answer(answer);
        const { tool, allowed, reason } = answer;
        onProgress({ event: "agent.tool", tool, allowed, reason });
      },
      onEnd: ({ mark }) => {
        this.#ended.push(mark);
      },
      onBroken: (error) => {
        broken.abort(error);
      },
    };
  }

  #beginTranscript(tokens: readonly string[]): void {
    if (this.#wanted.transcript !== true) return;
    this.#transcript = new Transcript([...this.#options.secrets, ...tokens]);
  }

  /** @returns the transcript, where the task asks for one */
  async keepTranscript(): Promise<ArtifactRef[]> {
    if (this.#transcript === null) return [];
    const name = transcriptName(this.#invocation.context.step_id);
    const bytes = this.#transcript.bytes();
    return [await this.#options.artifacts.put(name, bytes, "application/jsonl")];
  }

  /** What the outcome says of it. What the agent says of itself is named a claim. */
  told(): JsonObject {
    const { adapter, program, programDigest } = this.#options;
    return {
      agent: adapter.name,
      version: program.version,
      program_sha256: programDigest,
      hooks: this.#hooks(),
      session: this.#state,
      calls_allowed: this.#answers.filter((one) => one.allowed).length,
      calls_denied: this.#answers.filter((one) => !one.allowed).length,
      claims: claimsOf(this.#events, this.#text),
      ...(this.#end === null ? {} : usedOf(this.#end)),
    };
  }

  /** Of an agent that asks by itself: whether it asked, and for all that it says to have done. */
  #hooks(): string {
    const { hooks } = this.#options.adapter;
    if (hooks !== "asked") return hooks;
    if (this.#answers.length === 0) return "none";
    return this.#events.some(({ kind }) => kind === "tool_unasked") ? "partly" : "asked";
  }

  #read(line: string, broken: AbortController): void {
    const { adapter, onProgress } = this.#options;
    for (const event of adapter.parse(line)) {
      if (event.kind === "other") continue;
      if (event.kind === "started") this.#keep(event.session);
      if (event.kind !== "text") this.#events.push(event);
      else if (event.text.trim() !== "") {
        this.#text = event.text;
        onProgress({ event: "agent.text", text: cutText(event.text, TEXT_CHARS) });
      }
      // A call that was carried out and never asked for: the hooks are not what they were.
      if (this.#asked.isUnasked(event)) broken.abort(unasked());
    }
  }

  /** From now on a later attempt can go on with it. */
  #keep(session: string): void {
    const { adapter, programDigest, workspace, keeper } = this.#options;
    const { root } = workspace;
    keeper.keep({ agent: adapter.name, program_sha256: programDigest, session, root });
  }

  #wallMs(): number {
    const { timeoutMs } = this.#options.workspace.limits;
    return Math.min(timeoutMs, (this.#wanted.timeout_seconds ?? Infinity) * 1000);
  }

  #task(token: string): AgentTask {
    const { model, sha256 } = this.#wanted;
    const bytes = this.#options.task(sha256);
    if (bytes === null) throw new SovereignError("ERR_RUN_DIVERGED", "The task's text is gone.");
    const prompt = Buffer.from(bytes).toString("utf8");
    const { tools, program } = this.#options;
    const resume = this.#kept === null ? {} : { resume: this.#kept.session };
    return { prompt, model, tools, token, command: program.command, ...resume };
  }

  #folder(name: string): string {
    const path = join(this.#place, name);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  #request(
    task: AgentTask,
    folder: string,
    part: Omit<AgentPart, "place" | "folder">,
  ): SandboxRequest {
    const prepared = this.#options.adapter.prepare(task);
    return agentRequest(this.#options, prepared, { ...part, folder, place: this.#place });
  }
}

/** @returns the last connection that was refused: it is recorded when the way is closed */
async function closed(way: OpenEgress | null): Promise<RefusedHost | null> {
  await way?.close();
  return way?.refused() ?? null;
}

function unasked(): SovereignError {
  const text = "The agent carried out a tool call that it had not asked for, and was ended.";
  return new SovereignError("ERR_AGENT_HOOK", text);
}
