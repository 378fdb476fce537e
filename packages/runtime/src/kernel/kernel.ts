import {
  type Action,
  type ActionContext,
  type ArtifactRef,
  cutText,
  deepFreeze,
  digestOf,
  type Envelope,
  type ErrorCode,
  isCiDenial,
  isSovereignError,
  type JsonObject,
  type PolicyDecision,
  SovereignError,
} from "@sovereign/core";
import {
  type CountedApproval,
  checkAuthorization,
  isPermission,
  type JudgedApprovals,
  judgeApprovals,
  type Subject,
  type UsedNonce,
} from "./authorization.ts";
import { type Clock, systemClock, timestampOf } from "../system/index.ts";
import { askPolicy, captureDecider, noDecision } from "./decision.ts";
import { EVENTS, indexOf, refusalCode, severityOf } from "./exits.ts";
import { callEffect, type HeldEffect, holdEffect, recallEffect, recordable } from "./effect.ts";
import type { Outcome } from "./outcome.ts";
import type {
  EffectRegistry,
  EffectResult,
  KeyDirectory,
  LedgerRecord,
  PolicyDecider,
  Recorder,
  RecordVerdict,
  ScramGate,
} from "./ports.ts";
import { preflight } from "./preflight.ts";
import { type ExecuteRequest, isMalformed, type TakenRequest, takeRequest } from "./request.ts";
import { RunRecords } from "./run-records.ts";
import { leaveUnheard, readThrown } from "./thrown.ts";

/** The stages of one action, in order. Each exit of the kernel belongs to one of them. */
export type Stage =
  | "preflight"
  | "policy"
  | "approval"
  | "authority"
  | "intent"
  | "effect"
  | "outcome";

export interface KernelOptions {
  readonly scram: ScramGate;
  readonly policy: PolicyDecider;
  readonly keys: KeyDirectory;
  readonly recorder: Recorder;
  readonly effects: EffectRegistry;
  readonly clock?: Clock;
  /** False refuses compatible mode altogether. Default false. */
  readonly allowCompatible?: boolean;
  /** Told how long each stage took, in milliseconds. For measurement only. */
  readonly onStage?: (stage: Stage, ms: number) => unknown;
}

export interface Kernel {
  /**
   * The only way in which anything happens.
   *
   * @returns how it ended: each refusal is a value with a code and is in the ledger
   * @param request untrusted: it is copied once, and nothing of the caller's is read afterwards
   * @throws ERR_FORMAT_INVALID, or an ERR_JSON code, when the request names no run that the refusal
   *   could be recorded in
   */
  execute(request: ExecuteRequest): Promise<Outcome>;
  /**
   * Record what an attempt did that was authorised and whose end is not in the ledger, because its
   * process died in between. Nothing is begun.
   *
   * @param request untrusted; the context is that of the attempt
   * @returns the end, now recorded; null where the effect did not happen, or nobody can tell; a
   *   recorded refusal where no earlier process had exactly this authorised, or its end is there
   */
  recall(request: Pick<ExecuteRequest, "action" | "context" | "signal">): Promise<Outcome | null>;
  /**
   * Record what could not be recorded when it happened. Whoever writes in the run beside the kernel, or
   * ends it, does this first: an end that is kept belongs before what comes after it.
   *
   * @throws ERR_STORE_UNAVAILABLE where it cannot be recorded now, either: it stays kept
   */
  recordKept(runId: string): Promise<void>;
}

/**
 * Make a kernel over the given ports. It decides and records; it holds no signing key.
 *
 * @see docs/ARCHITECTURE.md "The path of an action"
 */
export function createKernel(options: KernelOptions): Kernel {
  const { scram, keys, clock, allowCompatible, onStage } = own(options);
  // Taken once, here: what the embedding program does with its objects later changes no decision.
  const parts: Parts = {
    scram: { preflight: scram.preflight.bind(scram) },
    policy: captureDecider(options.policy),
    keys: { current: keys.current.bind(keys), refresh: keys.refresh.bind(keys) },
    records: new RunRecords(options.recorder),
    effects: new Map(
      Object.entries(options.effects).map(([type, one]) => [type, holdEffect(type, one)]),
    ),
    clock: { now: clock.now.bind(clock), monotonicMs: clock.monotonicMs.bind(clock) },
    allowCompatible,
    onStage,
  };
  return Object.freeze<Kernel>({
    execute: async (request) => {
      const taken = takeRequest(request);
      const execution = new Execution(parts, taken);
      return deepFreeze(
        await (isMalformed(taken) ? execution.refuseMalformed(taken.error) : execution.run(taken)),
      );
    },
    recall: async (request) => {
      const taken = takeRequest(request, true);
      if (isMalformed(taken)) throw taken.error;
      return deepFreeze(await new Execution(parts, taken).recall(taken));
    },
    recordKept: (runId) => parts.records.writeKept(runId),
  });
}

/**
 * The options with their defaults. What may be left out is looked for in the object itself alone, so
 * that nothing that a program put on every object is taken for a setting.
 */
function own(
  options: KernelOptions,
): Pick<Parts, "scram" | "keys" | "clock" | "allowCompatible" | "onStage"> {
  const given = <K extends keyof KernelOptions>(name: K): KernelOptions[K] | undefined =>
    Object.hasOwn(options, name) ? options[name] : undefined;
  return {
    scram: options.scram,
    keys: options.keys,
    clock: given("clock") ?? systemClock,
    allowCompatible: given("allowCompatible") === true,
    onStage: given("onStage") ?? null,
  };
}

/** What a kernel works with, as it was when the kernel was made. */
interface Parts {
  readonly scram: ScramGate;
  readonly policy: PolicyDecider;
  readonly keys: KeyDirectory;
  readonly records: RunRecords;
  readonly effects: ReadonlyMap<string, HeldEffect>;
  readonly clock: Clock;
  readonly allowCompatible: boolean;
  readonly onStage: NonNullable<KernelOptions["onStage"]> | null;
}

/** What a record says of approvals that did not count: enough to act on, and never too much. */
const LEFT_OUT_MAX = 16;
const LEFT_OUT_CHARS = 200;

/** One action on its way through the stages. */
class Execution {
  readonly #parts: Parts;
  readonly #context: ActionContext;
  readonly #actionDigest: string;

  constructor(parts: Parts, taken: { context: ActionContext; actionDigest: string }) {
    this.#parts = parts;
    this.#context = taken.context;
    this.#actionDigest = taken.actionDigest;
  }

  /** What is no request that can be judged is refused in the run that it names. */
  refuseMalformed(error: SovereignError): Promise<Outcome> {
    return this.#refuse("BLOCKED", error.code, error.message);
  }

  async run(taken: TakenRequest): Promise<Outcome> {
    const { scram, policy, effects } = this.#parts;
    const { action, context } = taken;
    const gate = this.#timed("preflight", () => preflight(scram, context));
    if (!gate.armed) return this.#refuse("SCRAM_ABORT", gate.code, gate.reason);
    const effect = effects.get(action.type);
    if (effect === undefined) {
      const reason = `no effect is registered for ${action.type}`;
      const decision = noDecision(policy.policyDigest);
      return this.#denied(action, "ERR_ACTION_UNKNOWN", reason, decision);
    }
    const { decision, problem } = this.#timed("policy", () => askPolicy(policy, action, context));
    if (problem !== null) return this.#denied(action, "ERR_DECISION_INVALID", problem, decision);
    if (decision.effect === "deny") {
      const reason = decision.reasons.join("; ") || "no rule allows this";
      const code = isCiDenial(decision) ? "ERR_CI_FILE_REFUSED" : "ERR_POLICY_DENIED";
      return this.#denied(action, code, reason, decision);
    }
    const refusal = await this.#permit(taken, decision, false);
    return refusal ?? this.#perform(taken, effect);
  }

  async recall({ action, context, signal }: TakenRequest): Promise<Outcome | null> {
    if (!this.#parts.records.wasLeftOpen(context, this.#actionDigest)) {
      const reason = `attempt ${context.attempt} of ${context.step_id} has no open authorisation`;
      return this.#refuse("BLOCKED", "ERR_STEP_UNAUTHORISED", reason);
    }
    const effect = this.#parts.effects.get(action.type);
    if (effect === undefined) return null;
    const found = await recallEffect({ effect, action, context, signal });
    return found === null ? null : this.#recordOutcome(found);
  }

  /**
   * Stages 3 to 5: approvals, authority, durable intent. A key log that grew in between is read
   * again, once, and all of it is judged again by this same code.
   *
   * @returns the refusal, or null when the intent is durable
   */
  async #permit(
    taken: TakenRequest,
    decision: PolicyDecision,
    again: boolean,
  ): Promise<Outcome | null> {
    const subject = this.#subject(taken, decision);
    if (typeof subject === "string") return this.#unavailable(subject, false);
    const { required, roles } = decision.approvals ?? { required: 0, roles: [] };
    const judged =
      decision.approvals === null
        ? { counted: [], leftOut: [] }
        : this.#timed("approval", () => judgeApprovals(subject, roles, taken.approvals));
    if (judged.counted.length < required) return this.#pending(subject, judged);
    const authority = this.#timed("authority", () => this.#authority(taken, subject));
    if (!authority.ok) return this.#refuse("BLOCKED", authority.code, authority.reason);
    const verdict = await this.#timedAsync("intent", () =>
      this.#recordIntent(taken, subject, judged.counted, authority.value),
    );
    if (verdict instanceof SovereignError) return this.#unavailable(verdict.message, false);
    if (verdict.status === "committed") return null;
    if (verdict.reason !== "key_epoch" || again) {
      return this.#refuse("BLOCKED", refusalCode(verdict.reason), verdict.detail);
    }
    try {
      await this.#parts.keys.refresh();
    } catch (error) {
      if (!isSovereignError(error, "ERR_STORE_UNAVAILABLE")) throw error;
      return this.#unavailable(error.message, false);
    }
    return this.#permit(taken, decision, true);
  }

  #authority(taken: TakenRequest, subject: Subject): ReturnType<typeof checkAuthorization> {
    if (this.#context.mode === "sovereign") return checkAuthorization(subject, taken.authorization);
    if (this.#parts.allowCompatible) return { ok: true, value: [] };
    return {
      ok: false,
      code: "ERR_MODE_REFUSED",
      reason: "compatible mode is off here; SOVEREIGN_ALLOW_COMPATIBLE=1 would allow it",
    };
  }

  /** @returns what is judged, or why it cannot be known */
  #subject(taken: TakenRequest, decision: PolicyDecision): Subject | string {
    const { action, context, actionDigest, contextDigest } = taken;
    const { keys, clock } = this.#parts;
    try {
      const at = timestampOf(clock);
      return { action, context, actionDigest, contextDigest, decision, keys: keys.current(), at };
    } catch (error) {
      const said = readThrown(error).message ?? "it threw what is not an error";
      return `the enrolled keys, or the time, cannot be read: ${said}`;
    }
  }

  /** INVARIANT: no effect before its intent is durable. */
  async #recordIntent(
    taken: TakenRequest,
    subject: Subject,
    approvals: readonly CountedApproval[],
    nonces: readonly UsedNonce[],
  ): Promise<RecordVerdict | SovereignError> {
    const named = this.#namedEnvelopes(taken, approvals);
    const data = {
      action: subject.action,
      context: subject.context,
      action_digest: subject.actionDigest,
      context_digest: subject.contextDigest,
      decision: subject.decision,
      key_epoch: subject.keys.count,
      envelopes: Object.fromEntries(named.map(([name, one]) => [name, digestOf(one)])),
    };
    return this.#write({
      event: "execution.authorized",
      severity: "INFO",
      data,
      envelopes: named.map(([, one]) => one),
      nonces: [...approvals.map(({ nonce }) => nonce), ...nonces],
      keyEpoch: subject.keys.count,
    });
  }

  /** The very envelopes that were judged: those that count, and no other. */
  #namedEnvelopes(
    { authorization }: TakenRequest,
    approvals: readonly CountedApproval[],
  ): [string, Envelope][] {
    const named = approvals.map(({ envelope }, index): [string, Envelope] => [
      `approval_${index + 1}`,
      envelope,
    ]);
    if (this.#context.mode === "compatible") return named;
    // In sovereign mode authority has judged them by now.
    if (authorization === null || !isPermission(authorization)) throw new Error("no permission");
    return [["role", authorization.role], ["binding", authorization.binding], ...named];
  }

  /** Stages 6 and 7. From here on the world may have changed, so every end is an outcome. */
  async #perform(taken: TakenRequest, effect: HeldEffect): Promise<Outcome> {
    const { action, context, signal } = taken;
    const { scram } = this.#parts;
    const result = await this.#timedAsync("effect", () =>
      callEffect({ effect, action, context, signal, scram }),
    );
    return this.#timedAsync("outcome", () => this.#recordOutcome(result));
  }

  /** INVARIANT: no end is told before it is durable, whatever it is. */
  async #recordOutcome(result: EffectResult): Promise<Outcome> {
    const { event, severity, data } = endOf(result);
    const verdict = await this.#write({
      event,
      severity,
      data: { ...this.#place(), ...data },
      envelopes: [],
      nonces: [],
      keyEpoch: null,
    });
    if (verdict instanceof SovereignError) return this.#unavailable(verdict.message, true);
    if (verdict.status === "refused" && verdict.reason === "unauthorised") {
      return this.#refuse("BLOCKED", "ERR_STEP_UNAUTHORISED", verdict.detail);
    }
    if (verdict.status === "refused") return this.#unavailable(verdict.detail, true);
    const at = { actionDigest: this.#actionDigest, entryIndex: verdict.index };
    if (result.status === "completed") {
      const { output, artifacts, usage } = result;
      return { status: "COMPLETED", output, artifacts, usage, ...at };
    }
    const { code, reason } = result;
    return { status: result.status === "killed" ? "KILLED" : "FAILED", code, reason, ...at };
  }

  #denied(
    action: Action,
    code: ErrorCode,
    reason: string,
    decision: PolicyDecision,
  ): Promise<Outcome> {
    return this.#refuse("DENIED", code, reason, { decision, action });
  }

  async #pending(subject: Subject, judged: JudgedApprovals): Promise<Outcome> {
    const { decision, contextDigest } = subject;
    const { required, roles } = decision.approvals ?? { required: 0, roles: [] };
    const approvedBy = judged.counted.map(({ approver }) => approver);
    const leftOut = judged.leftOut
      .slice(0, LEFT_OUT_MAX)
      .map(({ reason, ...one }) => ({ ...one, reason: cutText(reason, LEFT_OUT_CHARS) }));
    const others = leftOut.map((one) => `; left out ${one.approval}: ${one.code}, ${one.reason}`);
    const reason = `needs ${required} approvals of ${roles.join(", ")}; has ${approvedBy.length}`;
    const exit = await this.#refuse("PENDING", "ERR_APPROVAL_REQUIRED", reason + others.join(""), {
      decision,
      context_digest: contextDigest,
      approved_by: approvedBy,
      left_out: leftOut,
    });
    return { ...exit, status: "PENDING", decision, contextDigest, approvedBy, leftOut } as Outcome;
  }

  /** Record a refusal, and answer it. */
  async #refuse(
    status: keyof typeof EVENTS,
    code: ErrorCode,
    reason: string,
    extra: JsonObject = {},
  ): Promise<Outcome> {
    const said = cutText(reason, REASON_CHARS_MAX);
    const verdict = await this.#write({
      event: EVENTS[status],
      severity: severityOf(code),
      data: { ...this.#place(), code, reason: said, ...extra },
      envelopes: [],
      nonces: [],
      keyEpoch: null,
    });
    const exit = {
      code,
      reason: said,
      actionDigest: this.#actionDigest,
      entryIndex: indexOf(verdict),
    };
    return { ...extra, ...exit, status } as Outcome;
  }

  async #unavailable(reason: string, effectRan: boolean): Promise<Outcome> {
    const code = effectRan ? "ERR_OUTCOME_UNRECORDED" : "ERR_STORE_UNAVAILABLE";
    return this.#refuse("UNAVAILABLE", code, reason, { effectRan });
  }

  #write(record: LedgerRecord): Promise<RecordVerdict | SovereignError> {
    // Frozen: the recorder may keep it, and so do we where it cannot be written now.
    return this.#parts.records.write(this.#context.run_id, deepFreeze(record));
  }

  #place(): { step_id: string; attempt: number; action_digest: string } {
    const { step_id, attempt } = this.#context;
    return { step_id, attempt, action_digest: this.#actionDigest };
  }

  #timed<T>(stage: Stage, work: () => T): T {
    const start = this.#clock();
    const value = work();
    this.#told(stage, start);
    return value;
  }

  async #timedAsync<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const start = this.#clock();
    const value = await work();
    this.#told(stage, start);
    return value;
  }

  #clock(): number {
    try {
      return this.#parts.onStage === null ? 0 : this.#parts.clock.monotonicMs();
    } catch {
      return Number.NaN;
    }
  }

  /** Whoever measures cannot end what is measured. */
  #told(stage: Stage, start: number): void {
    try {
      const { onStage, clock } = this.#parts;
      if (onStage === null) return;
      leaveUnheard(onStage(stage, clock.monotonicMs() - start));
    } catch {
      // A measurement is lost; the action is not.
    }
  }
}

const REASON_CHARS_MAX = 2000;

/** How an effect ended, as it is recorded. */
function endOf(result: EffectResult): Pick<LedgerRecord, "event" | "severity" | "data"> {
  if (result.status === "completed") {
    const { output, artifacts, usage } = result;
    const data = { artifacts: asJson(artifacts), usage, output: recordable(output) };
    return { event: "execution.completed", severity: "INFO", data };
  }
  const { code, reason } = result;
  const event = EVENTS[result.status === "killed" ? "KILLED" : "FAILED"];
  return { event, severity: severityOf(code), data: { code, reason } };
}

/** Nobody writes to what is recorded: the very list is handed on, whose form is kept. */
function asJson(artifacts: readonly ArtifactRef[]): ArtifactRef[] {
  return artifacts as ArtifactRef[];
}
