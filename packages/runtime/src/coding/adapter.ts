import type { ModelWire } from "@sovereign/core";

/** What an agent is to do, and with what. */
export interface AgentTask {
  /** The task in the user's words. */
  readonly prompt: string;
  readonly model: string;
  /** The tools that policy names at all; the agent is offered no others. */
  readonly tools: readonly string[];
  /** Stands in for the vendor's key, for this run alone. */
  readonly token: string;
  /** The words of a command that the user names, as the sandbox sees them; none for other agents. */
  readonly command: readonly string[];
  /** The conversation to go on with, as the agent named it; absent for a new one. */
  readonly resume?: string;
}

/** How an agent's program is started in the sandbox. */
export interface PreparedAgent {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** Read-only files of ours, by their path inside. */
  readonly files: Readonly<Record<string, string>>;
  /** Names at the repository's root by which it would configure the agent: hidden. */
  readonly masked: readonly string[];
  /** What is hidden would run in the agent's own process: where it cannot be hidden, nothing begins. */
  readonly needsMasks?: boolean;
}

/** What an agent says of its work, in one vocabulary for all agents. All of it is a claim. */
export type AgentEvent =
  | {
      readonly kind: "started";
      readonly version: string;
      readonly model: string;
      /** How it names its conversation; empty where it does not say. */
      readonly session: string;
    }
  | { readonly kind: "text"; readonly text: string }
  /** Its model asked for a call. Whether it was made is told by the next two. */
  | { readonly kind: "tool"; readonly mark: string; readonly name: string }
  /** A call has begun: it needs an answer that allows it, whatever comes of it. */
  | { readonly kind: "tool_begun"; readonly mark: string }
  | {
      readonly kind: "tool_result";
      readonly mark: string;
      /** The call was made: it needs an answer that allows it, and an end that the hook told. */
      readonly ran: boolean;
      /** The agent says that its hook ended without an answer, so that it did not make the call. */
      readonly isHookFailed: boolean;
    }
  /** It says to have made a call for which it did not ask, where nothing makes it ask. */
  | { readonly kind: "tool_unasked" }
  | { readonly kind: "retry"; readonly status: number | null }
  /** One answer of its model, where its last line does not sum them up. */
  | { readonly kind: "used"; readonly inputTokens: number; readonly outputTokens: number }
  | {
      readonly kind: "result";
      /** What the agent calls its own end. */
      readonly ok: boolean;
      readonly word: string;
      readonly text: string;
      /** Null where the agent does not count them. */
      readonly turns: number | null;
      readonly costUsd: number | null;
      readonly inputTokens: number;
      readonly outputTokens: number;
      readonly denied: readonly string[];
    }
  | { readonly kind: "other" };

/** How an agent's program ended, with what it said and what it asked. */
export interface AgentEnd {
  readonly exitCode: number | null;
  readonly events: readonly AgentEvent[];
  /** Of the calls that it asked for, in their order: what it was told. */
  readonly answers: readonly ToolAnswer[];
  /** The marks of calls of which the hook told that they ended. */
  readonly ended: readonly string[];
}

export interface ToolAnswer {
  readonly id: string;
  readonly mark: string;
  readonly tool: string;
  readonly allowed: boolean;
  readonly reason: string;
}

/** Success, or why not. An exit code alone is never trusted. */
export type AgentOutcome =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly code: "ERR_AGENT_FAILED" | "ERR_AGENT_DENIED" | "ERR_AGENT_HOOK";
      readonly reason: string;
    };

/** What a hook told of a tool call. */
export interface HookCall {
  readonly phase: "before" | "after";
  readonly id: string;
  /**
   * How the agent's output names the call: the id where the output has it, else what the call does.
   * Calls can have the same mark: each needs an answer of its own.
   */
  readonly mark: string;
  /** In our vocabulary, which policies use: `Bash`, `Edit`, `Write`, `Read`. */
  readonly tool: string;
  readonly input: ToolInput;
  /** Of a call that ended: what the tool said, as JSON text. */
  readonly response: string | null;
}

export type ToolInput = Readonly<Record<string, unknown>>;

/** A tool call in our vocabulary: what policy is asked besides the tool's name. */
export interface ToolAsk {
  readonly type: string;
  readonly resource: string;
  readonly params: { readonly argv?: readonly string[] };
}

/** Where an agent's program is installed, and what it is. */
export interface AgentProgram {
  readonly path: string;
  readonly version: string;
  /** Names in the same folder. */
  readonly beside: readonly string[];
  /** Where it is seen inside; null where the sandbox has it already. */
  readonly mountedAt: string | null;
  /** The words of a command that the user names, as the sandbox sees them; none for other agents. */
  readonly command: readonly string[];
}

/** What an agent is installed as: files of packages of npm. */
export interface AgentPackages {
  /** Whose version counts, and which an install command names. */
  readonly package: string;
  /** The package that holds the program for a machine, and the program's path in it. */
  program(architecture: string): AgentFile;
  /** The first and the last version that were tested. */
  readonly versions: { readonly from: string; readonly to: string };
}

export interface AgentFile {
  readonly package: string;
  readonly file: string;
  /** What the versions of such packages end with. */
  readonly suffix?: string;
  /** Programs in the same folder that it starts: they are seen beside it. */
  readonly beside?: readonly string[];
}

/** A made-up model's answers: a tool call that would leave a file, and an end. */
export interface AgentCanary {
  readonly first: string;
  readonly second: string;
}

/**
 * `proved`: each run sees it ask, and obey, right before its work. `asked`: it asks by itself, and
 * nothing shows that it always does. `none`: it asks nobody.
 */
export type AgentHooks = "proved" | "asked" | "none";

/** One coding agent: pure functions, no input or output. */
export interface AgentAdapter {
  readonly name: string;
  readonly hooks: AgentHooks;
  readonly defaultModel: string;
  /** How it speaks to a model: a vendor has to answer in it. Null where that is not known. */
  readonly wire: ModelWire | null;
  /** The same where it depends on the model. */
  readonly wireOf?: (model: string) => ModelWire;
  /**
   * Names in the folder of its conversation, which are all that a later attempt finds there. Absent for
   * an agent that cannot go on with a conversation: it starts again.
   */
  readonly keeps?: readonly string[];
  prepare(task: AgentTask): PreparedAgent;
  /** @param line untrusted */
  parse(line: string): AgentEvent[];
  classify(end: AgentEnd): AgentOutcome;
  /** @param body untrusted: what the hook was given; null where it is none that we know */
  hook(body: string): HookCall | null;
  answer(call: HookCall, answer: ToolAnswer): string;
  /** @returns null for what cannot be read: it is denied */
  asks(call: HookCall): readonly ToolAsk[] | null;
}

/** An agent whose program we know: which versions were tested, and how it is seen to ask. */
export interface InstalledAgent extends AgentAdapter {
  readonly hooks: "proved";
  readonly packages: AgentPackages;
  readonly wire: ModelWire;
  /** Where the program is seen inside. */
  readonly mountedAt: string;
  /**
   * By this each run proves that the agent asks.
   * @param id of the call, as the hook has to tell it
   * @param file what the call would leave
   */
  canary(id: string, file: string): AgentCanary;
  /** Whether the agent's output shows that it took the denial of its one call, the canary's. */
  tookDenial(end: AgentEnd, mark: string): boolean;
}

/** Whether an agent's program is one that we know. */
export function isInstalled(adapter: AgentAdapter): adapter is InstalledAgent {
  return "packages" in adapter;
}
