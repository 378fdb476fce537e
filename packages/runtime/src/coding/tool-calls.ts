import { cutText, isSovereignError, type JsonObject, sha256Hex, utf8Encode } from "@sovereign/core";
import { defineEffect, type Effect, type EffectResult } from "../kernel/index.ts";
import { RunStopped, type Step } from "../runs/index.ts";
import { refuseOtherJson } from "../system/index.ts";
import type { AgentAdapter, HookCall, ToolAnswer, ToolAsk, ToolInput } from "./adapter.ts";
import type { HookReply } from "./hook-server.ts";

/** A record is kept of each; who asks for more is not at work. */
const CALLS_MAX = 5000;
const EXTRACT_CHARS = 400;
const EXTRACT_FIELDS = 12;
const REASON_CHARS = 500;
export const TOOL_CALL = "agent.tool_call";

/** Does a step of the run: throws RunStopped where it does not complete. */
export type Perform = (step: Step) => Promise<unknown>;

/** How a call ended, as the agent says. */
interface CallEnd {
  readonly response: string | null;
}

/** A call on its way: its hook waits for `allowed`, its effect for `ended`. */
interface OpenCall {
  readonly allowed: PromiseWithResolvers<undefined>;
  readonly ended: PromiseWithResolvers<CallEnd | null>;
}

/** One piece of an agent's work: what its hooks are answered by. */
export interface ToolSession {
  readonly adapter: AgentAdapter;
  /** Begins the ids of its steps: unique in the run. */
  readonly prefix: string;
  readonly role: string;
  readonly onAnswer: (answer: ToolAnswer) => void;
  /** The hook told that a call has ended. */
  readonly onEnd: (call: HookCall) => void;
  /** The run cannot go on: the agent must end. */
  readonly onBroken: (error: Error) => void;
}

/**
 * Every tool call of an agent, as an action of the kernel: the intent is durable before the hook says
 * yes, and how the call ended is its outcome.
 */
export class ToolCalls {
  readonly #perform: () => Perform;
  readonly #open = new Map<string, OpenCall>();
  readonly effect: Effect;
  #count = 0;

  /** @param perform asked for at the first call: sessions are made after effects */
  constructor(perform: () => Perform) {
    this.#perform = perform;
    this.effect = defineEffect(TOOL_CALL, ({ context, signal }) =>
      this.#carryOut(context.step_id, signal),
    );
  }

  /** @param body untrusted: what a hook was told by the agent */
  async answer(session: ToolSession, body: string): Promise<HookReply> {
    const call = session.adapter.hook(body);
    if (call === null) throw new Error("no hook that we know");
    if (call.phase === "after") {
      const open = this.#open.get(keyOf(session, call.id));
      open?.ended.resolve({ response: call.response });
      if (open !== undefined) session.onEnd(call);
      const seen = session.adapter.answer(call, answerOf(call, true, ""));
      return { word: "seen", answer: seen, reason: "" };
    }
    const answer = await this.#ask(session, call);
    session.onAnswer(answer);
    return {
      word: answer.allowed ? "allow" : "deny",
      answer: session.adapter.answer(call, answer),
      reason: answer.reason,
    };
  }

  /** The agent is dead: calls that nobody told the end of have none. */
  end(): void {
    for (const { ended } of this.#open.values()) ended.resolve(null);
  }

  async #ask(session: ToolSession, call: HookCall): Promise<ToolAnswer> {
    const asks = session.adapter.asks(call);
    if (asks === null) return answerOf(call, false, "its arguments cannot be read");
    this.#count += 1;
    if (this.#count > CALLS_MAX) return answerOf(call, false, `more than ${CALLS_MAX} calls`);
    const stepId = `${session.prefix}.${this.#count}`;
    const key = keyOf(session, call.id);
    if (this.#open.has(key)) return answerOf(call, false, "the call goes on already");
    const open = {
      allowed: Promise.withResolvers<undefined>(),
      ended: Promise.withResolvers<CallEnd | null>(),
    };
    this.#open.set(key, open);
    this.#steps.set(stepId, open);
    const params = callParams(call, asks);
    const action = { type: TOOL_CALL, resource: call.tool, params };
    const done = this.#perform()({ stepId, role: session.role, action }).finally(() => {
      this.#open.delete(key);
      this.#steps.delete(stepId);
    });
    // After it was allowed its end is the ledger's business; what breaks the run ends the agent.
    done.catch((error: unknown) => {
      if (!(error instanceof RunStopped) || error.outcome.status === "UNAVAILABLE") {
        session.onBroken(error instanceof Error ? error : new Error("unknown"));
      }
    });
    try {
      await Promise.race([open.allowed.promise, done]);
      return answerOf(call, true, "policy allows it");
    } catch (error) {
      return answerOf(call, false, reasonOf(error));
    }
  }

  readonly #steps = new Map<string, OpenCall>();

  /** The intent is durable: say yes, and wait for the end. */
  async #carryOut(stepId: string, signal: AbortSignal): Promise<EffectResult> {
    const open = this.#steps.get(stepId);
    if (open === undefined) return unknownEnd("no agent waits for it");
    const started = performance.now();
    open.allowed.resolve(undefined);
    const cancel = (): void => {
      open.ended.resolve(null);
    };
    signal.addEventListener("abort", cancel);
    try {
      const end = await open.ended.promise;
      if (end === null) return unknownEnd("the agent ended before it said how the call did");
      const bytes = utf8Encode(end.response ?? "");
      const output = { sha256: sha256Hex(bytes), bytes: bytes.length };
      const usage = {
        wall_ms: Math.round(performance.now() - started),
        output_bytes: bytes.length,
      };
      return { status: "completed", output: { response: output }, artifacts: [], usage };
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }
}

function unknownEnd(reason: string): EffectResult {
  return { status: "killed", code: "ERR_AGENT_TOOL_FAILED", reason };
}

function keyOf({ prefix }: ToolSession, id: string): string {
  return `${prefix} ${id}`;
}

export function answerOf(call: HookCall, allowed: boolean, reason: string): ToolAnswer {
  const { id, mark, tool } = call;
  return { id, mark, tool, allowed, reason };
}

function reasonOf(error: unknown): string {
  if (error instanceof RunStopped) {
    const { code, reason } = error.outcome;
    return cutText(`${reason} (${code})`, REASON_CHARS);
  }
  return isSovereignError(error) ? cutText(error.message, REASON_CHARS) : "it could not be judged";
}

/**
 * The parameters of the action that a call of a tool is.
 * @throws ERR_JSON_UNSUPPORTED where this process writes other JSON than it is given
 */
export function callParams(
  { id, input }: Pick<HookCall, "id" | "input">,
  asks: readonly ToolAsk[],
): JsonObject {
  // What is recorded of the input is what the tool gets.
  refuseOtherJson();
  return {
    call: cutText(id, 200),
    input: pinOf(input),
    extract: extractOf(input),
    asks: asks as unknown as JsonObject[],
  };
}

function pinOf(input: ToolInput): { sha256: string; bytes: number } {
  const bytes = utf8Encode(JSON.stringify(input));
  return { sha256: sha256Hex(bytes), bytes: bytes.length };
}

/** Enough of the arguments to know what was asked; the digest is over all of them. */
function extractOf(input: ToolInput): Record<string, string> {
  const fields = Object.entries(input).slice(0, EXTRACT_FIELDS);
  return Object.fromEntries(
    fields.map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      return [cutText(name, 60), cutText(text.toWellFormed(), EXTRACT_CHARS)];
    }),
  );
}
