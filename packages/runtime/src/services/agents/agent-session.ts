import {
  canonicalBytes,
  type ErrorCode,
  fields,
  frozenCopy,
  type JsonObject,
  type JsonValue,
  parseCanonicalJson,
  parseFormat,
  sha256Hex,
  SovereignError,
  fixClass,
} from "@sovereign/core";
import { callParams, TOOL_CALL, type ToolAsk } from "../../coding/index.ts";
import { defineEffect, type Effect, type EffectResult } from "../../kernel/index.ts";
import { assertOpened } from "../../installation/index.ts";
import { type CompiledPolicy, ownPolicy } from "../../policy/index.ts";
import { type RunSession, RunStopped } from "../../runs/index.ts";
import { type Ending, submitRun } from "../runs/lifecycle.ts";
import { type OpenedSession, ownOptions, type SessionOptions } from "../runs/open-session.ts";
import { agentSessionKind } from "./agent-session-kind.ts";

export interface AgentSessionOptions extends SessionOptions {
  /** What the session is called in `sovereign runs list`: of a-z 0-9 _ . - */
  readonly name: string;
  /** Its `agent.tools` say which tools may be called. */
  readonly policy: CompiledPolicy;
  /** The role whose key signs for the calls. */
  readonly role: string;
}

/** What an agent SDK hands to a tool beside its input. */
export interface ToolCallOptions {
  readonly toolCallId?: string;
  readonly abortSignal?: AbortSignal;
}

/** A tool as it may be given to an SDK: each call of it goes through the kernel. */
export type GuardedTool<I, O> = (input: I, options?: ToolCallOptions) => Promise<O>;

/** The answer to a call that an SDK makes itself. */
export type AskedCall =
  | { readonly allowed: false; readonly code: ErrorCode; readonly reason: string }
  | {
      readonly allowed: true;
      /** Tell how it ended: what the tool answered. Durable when it resolves. */
      ended(response: unknown): Promise<void>;
      /** Tell that it failed. */
      failed(reason: string): Promise<void>;
    };

/** How a session ended, and where its evidence is. */
export interface AgentSessionReport {
  readonly runId: string;
  readonly status: "completed" | "failed";
  readonly bundle: string;
  readonly trustRoot: string;
}

/** Does a call and answers the bytes of its response; what it throws is the call's failure. */
type CarryOut = (signal: AbortSignal) => Promise<Uint8Array>;

/**
 * Begin a session: a run in which a program that uses an agent SDK calls its own tools. Each call is
 * decided, recorded before it is made, and recorded when it has ended. Calls that policy denies are
 * not made; while the kill switch is tripped none is.
 *
 * The tools are the program's own code, in its own process: the kernel decides and records, and does
 * not confine them. `joinScram` puts the program itself under the kill switch.
 *
 * @throws ERR_FORMAT_INVALID, ERR_POLICY_INVALID, ERR_KEY_NOT_FOUND, ERR_SCRAM_TRIPPED, ERR_STORE_UNAVAILABLE
 * @throws TypeError for an installation that was not opened here
 */
export async function createAgentSession(options: AgentSessionOptions): Promise<AgentSession> {
  // Taken once: what the program does with it later changes nothing.
  const { role, ...rest } = ownOptions(options);
  assertOpened(rest.installation);
  const name = parseFormat(fields.name, rest.name, "the session's name");
  const policy = ownPolicy(rest.policy);
  const begun = Promise.withResolvers<OpenedSession>();
  const ending = Promise.withResolvers<Ending>();
  const steps = new Map<string, CarryOut>();
  const program = {
    effect: toolEffect(steps),
    run: (opened: OpenedSession): Promise<Ending> => {
      begun.resolve(opened);
      return ending.promise;
    },
  };
  const kind = agentSessionKind(program);
  const input = { name, policy, role, mode: "sovereign" } as const;
  const result = submitRun(kind, { ...rest, waitMs: 0 }, input);
  result.catch(begun.reject);
  const { session } = await begun.promise;
  return new AgentSession(session, role, steps, async (end) => {
    ending.resolve(end);
    const { runId, status, bundle, trustRoot, reason } = await result;
    if (bundle === null || trustRoot === null || status === "pending") {
      throw new SovereignError("ERR_STORE_UNAVAILABLE", reason ?? "The session has no end yet.");
    }
    return { runId, status: status === "completed" ? status : "failed", bundle, trustRoot };
  });
}

/** A program's tool calls, under the law. @see createAgentSession */
export class AgentSession {
  readonly #session: RunSession;
  readonly #role: string;
  readonly #steps: Map<string, CarryOut>;
  readonly #end: (ending: Ending) => Promise<AgentSessionReport>;
  readonly #open = new Set<Promise<unknown>>();
  /** Calls of which the SDK has not told the end. */
  readonly #untold = new Set<(error: Error) => void>();
  #count = 0;
  #hasEnded = false;

  constructor(
    session: RunSession,
    role: string,
    steps: Map<string, CarryOut>,
    end: (ending: Ending) => Promise<AgentSessionReport>,
  ) {
    this.#session = session;
    this.#role = role;
    this.#steps = steps;
    this.#end = end;
    Object.freeze(this);
  }

  get runId(): string {
    return this.#session.plan.runId;
  }

  /**
   * A tool whose calls go through the kernel. What a call is given is copied first, and so is what it
   * answers: what is recorded is what the tool gets, and what the SDK gets.
   *
   * @param asks what a call does in policy's words, such as a file that it reads: for tools that the
   *   policy judges
   * @returns for an SDK. It throws the code and reason of a denial, and what the tool throws.
   */
  tool<I extends JsonObject, O>(
    name: string,
    execute: (input: I, options: { readonly signal: AbortSignal }) => O | Promise<O>,
    asks: (input: I) => readonly ToolAsk[] = () => [],
  ): GuardedTool<I, O> {
    return async (given, options = {}) => {
      const input = frozenCopy(given) as I;
      const call = { name, id: options.toolCallId, input, asks: asks(input) };
      const made: { output?: O; error?: Error } = {};
      await this.#perform(call, async (signal) => {
        const { abortSignal = signal } = options;
        const one = AbortSignal.any([signal, abortSignal]);
        let answer: O;
        try {
          answer = await execute(input, { signal: one });
        } catch (error) {
          made.error = error instanceof Error ? error : new Error(String(error));
          throw made.error;
        }
        const bytes = bytesOf(answer);
        if (bytes.length > 0) made.output = readAnswer(bytes) as O;
        return bytes;
      }).catch((error: unknown) => {
        // What the tool throws is the SDK's to handle.
        throw made.error ?? denialOf(error);
      });
      return made.output as O;
    };
  }

  /**
   * Ask for a call that the SDK makes itself, as in a permission callback or a hook before the call.
   * Tell the end of each call that was allowed.
   */
  async ask(
    name: string,
    given: JsonObject,
    asks: readonly ToolAsk[] = [],
    id?: string,
  ): Promise<AskedCall> {
    const allowed = Promise.withResolvers<undefined>();
    const ended = Promise.withResolvers<Uint8Array>();
    const done = this.#perform({ name, id, input: frozenCopy(given) as JsonObject, asks }, () => {
      // Whoever ended the session meanwhile is told of no call that goes on.
      if (this.#hasEnded) ended.reject(new Error(UNTOLD));
      else this.#untold.add(ended.reject);
      allowed.resolve(undefined);
      return ended.promise;
    });
    // Whoever waits for it hears why; where nobody does, it is in the ledger.
    done.catch(() => undefined);
    try {
      await Promise.race([allowed.promise, done]);
    } catch (error) {
      const { code, message: reason } = denialOf(error);
      return { allowed: false, code, reason };
    }
    if (this.#hasEnded) {
      const { code, message: reason } = this.#endedError();
      return { allowed: false, code, reason };
    }
    const settle = async (tell: () => void): Promise<void> => {
      if (!this.#untold.delete(ended.reject)) {
        if (this.#hasEnded) throw this.#endedError();
        const text = `The end of this call of ${this.runId} was told before: it has one.`;
        throw new SovereignError("ERR_STEP_REPEATED", text);
      }
      tell();
      await done.catch((error: unknown) => {
        // A failure that was told is one: only what cannot be recorded is thrown.
        if (error instanceof RunStopped && error.outcome.status !== "UNAVAILABLE") return;
        throw error;
      });
    };
    return {
      allowed: true,
      ended: (response) =>
        settle(() => {
          try {
            // As it is now: what the program makes of it later is not what was answered.
            ended.resolve(bytesOf(response));
          } catch (error) {
            ended.reject(error);
          }
        }),
      failed: (reason) =>
        settle(() => {
          ended.reject(new Error(reason));
        }),
    };
  }

  /**
   * End the session, when the calls that go on have ended, and write its evidence.
   * @param reason why it failed; null where it did not
   */
  async end(reason: string | null = null): Promise<AgentSessionReport> {
    this.#hasEnded = true;
    for (const reject of this.#untold) reject(new Error(UNTOLD));
    this.#untold.clear();
    await Promise.allSettled(this.#open);
    const status = reason === null ? "completed" : "failed";
    const code = reason === null ? null : ("ERR_AGENT_FAILED" satisfies ErrorCode);
    return this.#end({ status, reason, code, outcome: null });
  }

  #endedError(): SovereignError {
    const text = `The session ${this.runId} has ended: nothing can be called in it any more.`;
    return new SovereignError("ERR_RUN_SEALED", text);
  }

  async #perform(
    { name, id, input, asks }: { name: string; id: string | undefined } & Asked,
    carryOut: CarryOut,
  ): Promise<void> {
    if (this.#hasEnded) throw this.#endedError();
    this.#count += 1;
    const stepId = `call.${this.#count}`;
    const params = callParams({ id: id ?? stepId, input }, asks);
    const action = { type: TOOL_CALL, resource: name, params };
    this.#steps.set(stepId, carryOut);
    const done = this.#session.perform({ stepId, role: this.#role, action, once: true });
    this.#open.add(done);
    try {
      await done;
    } finally {
      this.#open.delete(done);
      this.#steps.delete(stepId);
    }
  }
}

fixClass(AgentSession);

const UNTOLD = "nobody said how the call ended";

interface Asked {
  readonly input: JsonObject;
  readonly asks: readonly ToolAsk[];
}

/** The one effect: it is called by the kernel, when the intent is durable. */
function toolEffect(steps: ReadonlyMap<string, CarryOut>): Effect {
  return defineEffect(TOOL_CALL, async ({ context, signal }): Promise<EffectResult> => {
    const carryOut = steps.get(context.step_id);
    if (carryOut === undefined) throw new Error("no call of this session");
    const started = performance.now();
    const stopped = Promise.withResolvers<never>();
    const stop = (): void => {
      stopped.reject(new Error("it was stopped"));
    };
    signal.addEventListener("abort", stop);
    try {
      const bytes = await Promise.race([carryOut(signal), stopped.promise]);
      const response = { sha256: sha256Hex(bytes), bytes: bytes.length };
      const wall_ms = Math.round(performance.now() - started);
      const usage = { wall_ms, output_bytes: bytes.length };
      return { status: "completed", output: { response }, artifacts: [], usage };
    } catch (error) {
      const reason = error instanceof Error ? error.message : "it failed";
      const status = signal.aborted ? "killed" : "failed";
      return { status, code: "ERR_AGENT_TOOL_FAILED", reason: `the tool failed: ${reason}` };
    } finally {
      signal.removeEventListener("abort", stop);
    }
  });
}

/** The answer's bytes: JSON where it is some; a tool may answer nothing. */
function bytesOf(response: unknown): Uint8Array {
  if (response === undefined) return new Uint8Array();
  try {
    return canonicalBytes(response as JsonValue);
  } catch {
    throw new Error("its answer is no JSON, so it cannot be recorded");
  }
}

function readAnswer(bytes: Uint8Array): JsonValue {
  return parseCanonicalJson(bytes, { bytesMax: bytes.length });
}

function denialOf(error: unknown): SovereignError {
  if (error instanceof SovereignError) return error;
  if (!(error instanceof RunStopped)) throw error;
  const { code, reason } = error.outcome;
  return new SovereignError(code, reason);
}
