/** What an agent is to do, and with what. */
export interface AgentTask {
  /** The task in the user's words. */
  readonly prompt: string;
  readonly model: string;
  /** The tools that policy names at all; the agent is offered no others. */
  readonly tools: readonly string[];
  /** Stands in for the vendor's key, for this run alone. */
  readonly token: string;
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
}

/** What an agent says of its work, in one vocabulary for all agents. All of it is a claim. */
export type AgentEvent =
  | { readonly kind: "started"; readonly version: string; readonly model: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tool"; readonly id: string; readonly name: string }
  | {
      readonly kind: "tool_result";
      readonly id: string;
      readonly isError: boolean;
      /** The agent says that its hook ended without an answer, so that it did not make the call. */
      readonly isHookFailed: boolean;
    }
  | { readonly kind: "retry"; readonly status: number | null }
  | {
      readonly kind: "result";
      /** What the agent calls its own end. */
      readonly ok: boolean;
      readonly word: string;
      readonly text: string;
      readonly turns: number;
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
  /** The ids of calls of which the hook told that they ended. */
  readonly ended: ReadonlySet<string>;
}

export interface ToolAnswer {
  readonly id: string;
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
}

/** One coding agent: pure functions, no input or output. */
export interface AgentAdapter {
  readonly name: string;
  /** The npm package whose version counts, and the one that holds the program for this machine. */
  readonly package: string;
  readonly program: (architecture: string) => { readonly package: string; readonly file: string };
  /** The first and the last version that were tested. */
  readonly versions: { readonly from: string; readonly to: string };
  readonly defaultModel: string;
  /** Where the program is seen inside. */
  readonly mountedAt: string;
  prepare(task: AgentTask): PreparedAgent;
  /** @param line untrusted */
  parse(line: string): AgentEvent[];
  classify(end: AgentEnd): AgentOutcome;
  /** @param body untrusted: what the hook was given; null where it is none that we know */
  hook(body: string): HookCall | null;
  answer(call: HookCall, answer: ToolAnswer): string;
  /** @returns null for what cannot be read: it is denied */
  asks(call: HookCall): readonly ToolAsk[] | null;
  /**
   * A made-up model's answers, by which each run proves that the agent asks: one tool call of this id
   * that would leave a file, and an end.
   */
  canary(id: string, file: string): { readonly first: string; readonly second: string };
}
