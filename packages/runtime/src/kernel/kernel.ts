import {
  ACTION_BYTES_MAX,
  type Action,
  type ActionContext,
  canonicalBytes,
  digestOf,
  type Envelope,
  type ErrorCode,
  errorCatalogue,
  formats,
  isCiDenial,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type PolicyDecision,
  parseFormat,
  type Severity,
  SovereignError,
} from "@sovereign/core";
import {
  type Authorization,
  checkApprovals,
  checkAuthorization,
  type Subject,
  type UsedNonce,
} from "./authorization.ts";
import { type Clock, systemClock, timestampOf } from "./clock.ts";
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
  readonly onStage?: (stage: Stage, ms: number) => void;
}

/** One action to be done, with the permission to do it. All of it is untrusted. */
export interface ExecuteRequest {
  readonly action: Action;
  readonly context: ActionContext;
  readonly authorization: Authorization | null;
  readonly approvals: readonly Envelope[];
  readonly signal?: AbortSignal;
}

export interface Kernel {
  /**
   * The only way in which anything happens.
   *
   * @returns how it ended: each refusal is a value with a code and is in the ledger
   * @throws ERR_FORMAT_INVALID when the request is not an action at all
   */
  execute(request: ExecuteRequest): Promise<Outcome>;
}

/**
 * Make a kernel over the given ports. It decides and records; it holds no signing key.
 *
 * @see docs/ARCHITECTURE.md "The path of every action"
 */
export function createKernel(options: KernelOptions): Kernel {
  const clock = options.clock ?? systemClock;
  const unrecorded = new Map<string, LedgerRecord[]>();
  return {
    execute: (request) => new Execution(options, clock, unrecorded, request).run(),
  };
}

/** The events that record the exits, one for each. */
const EVENTS = {
  SCRAM_ABORT: "execution.aborted",
  DENIED: "execution.denied",
  PENDING: "execution.pending",
  BLOCKED: "execution.blocked",
  UNAVAILABLE: "execution.unavailable",
  KILLED: "execution.killed",
  FAILED: "execution.failed",
} as const;

/** One action on its way through the stages. */
class Execution {
  readonly #options: KernelOptions;
  readonly #clock: Clock;
  readonly #unrecorded: Map<string, LedgerRecord[]>;
  readonly #action: Action;
  readonly #context: ActionContext;
  readonly #request: ExecuteRequest;
  readonly #actionDigest: string;
  readonly #contextDigest: string;

  constructor(
    options: KernelOptions,
    clock: Clock,
    unrecorded: Map<string, LedgerRecord[]>,
    request: ExecuteRequest,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#unrecorded = unrecorded;
    this.#request = request;
    this.#action = parseFormat(formats.action, request.action, "action");
    this.#context = parseFormat(formats.actionContext, request.context, "action context");
    refuseTooLarge(this.#action);
    this.#actionDigest = digestOf(this.#action);
    this.#contextDigest = digestOf(this.#context);
  }

  async run(): Promise<Outcome> {
    const gate = this.#timed("preflight", () => this.#options.scram.preflight(this.#context));
    if (!gate.armed) return this.#refuse("SCRAM_ABORT", gate.code, gate.reason);

    const decision = this.#timed("policy", () => this.#decide());
    if (decision === null) {
      const reason = `no effect is registered for ${this.#action.type}`;
      return this.#denied("ERR_ACTION_UNKNOWN", reason, emptyDecision(this.#options.policy));
    }
    if (decision.effect === "deny") {
      const reason = decision.reasons.join("; ") || "no rule allows this";
      const code = isCiDenial(decision) ? "ERR_CI_FILE_REFUSED" : "ERR_POLICY_DENIED";
      return this.#denied(code, reason, decision);
    }
    return this.#approve(decision);
  }

  #decide(): PolicyDecision | null {
    if (!Object.hasOwn(this.#options.effects, this.#action.type)) return null;
    return this.#options.policy.decide(this.#action, this.#context);
  }

  /** Stage 3: N of M distinct keys over exactly this action, where policy asks for it. */
  async #approve(decision: PolicyDecision): Promise<Outcome> {
    if (decision.effect !== "step_up" || decision.approvals === null) {
      return this.#authorize(decision, [], false);
    }
    const { required, roles } = decision.approvals;
    const judged = this.#timed("approval", () =>
      checkApprovals(this.#subject(decision), roles, this.#request.approvals),
    );
    if (!judged.ok) return this.#refuse("BLOCKED", judged.code, judged.reason);
    if (judged.value.roles.length < required) {
      return this.#pending(decision, required, judged.value.roles);
    }
    return this.#authorize(decision, judged.value.nonces, false);
  }

  /** Stage 4, then 5. A key log that grew in between is read again, once, and all is rejudged. */
  async #authorize(
    decision: PolicyDecision,
    approvalNonces: readonly UsedNonce[],
    again: boolean,
  ): Promise<Outcome> {
    const subject = this.#subject(decision);
    const judged = this.#timed("authority", () => this.#authority(subject));
    if (!judged.ok) return this.#refuse("BLOCKED", judged.code, judged.reason);
    const verdict = await this.#timedAsync("intent", () =>
      this.#recordIntent(subject, [...approvalNonces, ...judged.value]),
    );
    if (verdict instanceof Error) {
      return this.#unavailable(verdict.message, false);
    }
    if (verdict.status === "committed") return this.#perform();
    if (verdict.reason === "key_epoch" && !again) {
      await this.#options.keys.refresh();
      return this.#approveAgain(decision);
    }
    return this.#refuse("BLOCKED", refusalCode(verdict.reason), verdict.detail);
  }

  async #approveAgain(decision: PolicyDecision): Promise<Outcome> {
    const roles = decision.approvals?.roles ?? [];
    const judged = checkApprovals(this.#subject(decision), roles, this.#approvalsUsed(decision));
    if (!judged.ok) return this.#refuse("BLOCKED", judged.code, judged.reason);
    return this.#authorize(decision, judged.value.nonces, true);
  }

  #approvalsUsed(decision: PolicyDecision): readonly Envelope[] {
    return decision.effect === "step_up" ? this.#request.approvals : [];
  }

  #authority(subject: Subject): ReturnType<typeof checkAuthorization> {
    if (this.#context.mode === "sovereign") {
      return checkAuthorization(subject, this.#request.authorization);
    }
    if (this.#options.allowCompatible === true) return { ok: true, value: [] };
    return {
      ok: false,
      code: "ERR_MODE_REFUSED",
      reason: "compatible mode is off in the configuration",
    };
  }

  #subject(decision: PolicyDecision): Subject {
    return {
      action: this.#action,
      context: this.#context,
      actionDigest: this.#actionDigest,
      contextDigest: this.#contextDigest,
      decision,
      keys: this.#options.keys.current(),
      at: timestampOf(this.#clock),
    };
  }

  /** INVARIANT: no effect before its intent is durable. */
  async #recordIntent(
    subject: Subject,
    nonces: readonly UsedNonce[],
  ): Promise<RecordVerdict | Error> {
    const named = this.#namedEnvelopes(subject.decision);
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
      nonces,
      keyEpoch: subject.keys.count,
    });
  }

  #namedEnvelopes(decision: PolicyDecision): [string, Envelope][] {
    const { authorization } = this.#request;
    const approvals = this.#approvalsUsed(decision).map((one, index): [string, Envelope] => [
      `approval_${index + 1}`,
      one,
    ]);
    if (this.#context.mode === "compatible" || authorization === null) return approvals;
    return [["role", authorization.role], ["binding", authorization.binding], ...approvals];
  }

  /** Stages 6 and 7. From here on the world may have changed, so every end is an outcome. */
  async #perform(): Promise<Outcome> {
    const result = await this.#timedAsync("effect", () => this.#effect());
    return this.#timedAsync("outcome", () => this.#recordOutcome(result));
  }

  async #effect(): Promise<EffectResult> {
    const effect = this.#options.effects[this.#action.type];
    const signal = this.#request.signal ?? new AbortController().signal;
    const { run_id, step_id } = this.#context;
    // Authority took its time: what was stopped since the pre-flight does not begin.
    const gate = this.#options.scram.preflight(this.#context);
    if (!gate.armed) return { status: "killed", code: gate.code, reason: gate.reason };
    try {
      if (effect === undefined) throw new Error("the effect is gone");
      return await effect({
        action: this.#action,
        context: this.#context,
        idempotencyKey: digestOf({ run_id, step_id }),
        signal,
      });
    } catch (error) {
      // What it died of is why it was to end, whatever the death looked like from inside.
      const cause: unknown = isSovereignError(signal.reason) ? signal.reason : error;
      if (signal.aborted) return { status: "killed", ...why(cause, "ERR_EFFECT_KILLED") };
      return { status: "failed", ...why(error, "ERR_EFFECT_FAILED") };
    }
  }

  async #recordOutcome(result: EffectResult): Promise<Outcome> {
    if (result.status !== "completed") {
      const status = result.status === "killed" ? "KILLED" : "FAILED";
      return this.#refuse(status, result.code, result.reason);
    }
    const { output, artifacts, usage } = result;
    const verdict = await this.#write({
      event: "execution.completed",
      severity: "INFO",
      data: { ...this.#place(), artifacts: [...artifacts], usage, output: recordable(output) },
      envelopes: [],
      nonces: [],
      keyEpoch: null,
    });
    if (verdict instanceof Error) return this.#unavailable(verdict.message, true);
    if (verdict.status === "refused") return this.#unavailable(verdict.detail, true);
    return {
      status: "COMPLETED",
      output,
      artifacts,
      usage,
      actionDigest: this.#actionDigest,
      entryIndex: verdict.index,
    };
  }

  #denied(code: ErrorCode, reason: string, decision: PolicyDecision): Promise<Outcome> {
    return this.#refuse("DENIED", code, reason, { decision, action: this.#action });
  }

  async #pending(
    decision: PolicyDecision,
    required: number,
    approvedBy: readonly string[],
  ): Promise<Outcome> {
    const roles = decision.approvals?.roles.join(", ") ?? "";
    const reason = `needs ${required} approvals of ${roles}; has ${approvedBy.length}`;
    const contextDigest = this.#contextDigest;
    const extra = { decision, context_digest: contextDigest, approved_by: [...approvedBy] };
    const exit = await this.#refuse("PENDING", "ERR_APPROVAL_REQUIRED", reason, extra);
    return { ...exit, status: "PENDING", decision, contextDigest, approvedBy } as Outcome;
  }

  /** Record a refusal, or a failed end, and answer it. */
  async #refuse(
    status: keyof typeof EVENTS,
    code: ErrorCode,
    reason: string,
    extra: JsonObject = {},
  ): Promise<Outcome> {
    const verdict = await this.#write({
      event: EVENTS[status],
      severity: severityOf(code),
      data: { ...this.#place(), code, reason: reason.slice(0, 2000), ...extra },
      envelopes: [],
      nonces: [],
      keyEpoch: null,
    });
    const recorded = !(verdict instanceof Error) && verdict.status === "committed";
    const exit = {
      code,
      reason,
      actionDigest: this.#actionDigest,
      entryIndex: recorded ? verdict.index : null,
    };
    return { ...extra, ...exit, status } as Outcome;
  }

  async #unavailable(reason: string, effectRan: boolean): Promise<Outcome> {
    const code = effectRan ? "ERR_OUTCOME_UNRECORDED" : "ERR_STORE_UNAVAILABLE";
    return this.#refuse("UNAVAILABLE", code, reason, { effectRan });
  }

  /**
   * Write one record, after those that could not be written before. What cannot be made durable
   * now is kept and goes first at the next write of this run, so every refusal has its entry.
   */
  async #write(record: LedgerRecord): Promise<RecordVerdict | Error> {
    const { run_id } = this.#context;
    const waiting = this.#unrecorded.get(run_id) ?? [];
    try {
      while (waiting[0] !== undefined) {
        await this.#options.recorder.record(run_id, waiting[0]);
        waiting.shift();
      }
      this.#unrecorded.delete(run_id);
      return await this.#options.recorder.record(run_id, record);
    } catch (error) {
      if (!isSovereignError(error, "ERR_STORE_UNAVAILABLE")) throw error;
      // An intent that is not durable is no intent: only ends and refusals are kept.
      if (record.event !== "execution.authorized") {
        this.#unrecorded.set(run_id, [...waiting, record]);
      }
      return error;
    }
  }

  #place(): { step_id: string; attempt: number; action_digest: string } {
    const { step_id, attempt } = this.#context;
    return { step_id, attempt, action_digest: this.#actionDigest };
  }

  #timed<T>(stage: Stage, work: () => T): T {
    const { onStage } = this.#options;
    if (onStage === undefined) return work();
    const start = this.#clock.monotonicMs();
    const value = work();
    onStage(stage, this.#clock.monotonicMs() - start);
    return value;
  }

  async #timedAsync<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const { onStage } = this.#options;
    if (onStage === undefined) return work();
    const start = this.#clock.monotonicMs();
    const value = await work();
    onStage(stage, this.#clock.monotonicMs() - start);
    return value;
  }
}

/** What is authorised must fit into one ledger entry, with its decision and envelopes' digests. */
function refuseTooLarge(action: Action): void {
  const { length } = canonicalBytes(action);
  if (length <= ACTION_BYTES_MAX) return;
  throw new SovereignError(
    "ERR_ACTION_TOO_LARGE",
    `The action has ${length} bytes; at most ${ACTION_BYTES_MAX} are taken. Pass large inputs by digest.`,
    { bytes: length },
  );
}

/** Large outputs go by digest; whoever gave them has them. */
function recordable(output: JsonValue): JsonValue {
  const { length } = canonicalBytes(output);
  return length <= ACTION_BYTES_MAX ? output : { output_digest: digestOf(output), bytes: length };
}

function emptyDecision(policy: PolicyDecider): PolicyDecision {
  return {
    effect: "deny",
    rules: [],
    reasons: [],
    approvals: null,
    policy_digest: policy.policyDigest,
    request_digest: "0".repeat(64),
    observed: false,
  };
}

function refusalCode(reason: string): ErrorCode {
  if (reason === "nonce_used") return "ERR_NONCE_REPLAYED";
  if (reason === "key_epoch") return "ERR_BINDING_KEY_REVOKED";
  return "ERR_RUN_FENCED";
}

function why(error: unknown, fallback: ErrorCode): { code: ErrorCode; reason: string } {
  if (isSovereignError(error)) return { code: error.code, reason: error.message };
  const reason = error instanceof Error ? error.message : "the effect threw what is not an error";
  // What we could not write ourselves is no fault of what was asked for.
  const full = ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException | null)?.code ?? "");
  return { code: full ? "ERR_DISK_LOW" : fallback, reason };
}

function severityOf(code: ErrorCode): Severity {
  const { kind } = errorCatalogue[code];
  if (kind === "fatal" || kind === "integrity") return "ERROR";
  return "WARNING";
}
