import {
  type Action,
  type ActionContext,
  type BudgetAmount,
  budgetEndOf,
  budgetHoldOf,
  type BudgetLimits,
  canonicalBytes,
  canonicalize,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type RunTrace,
  type TraceChange,
  fixClass,
  deepFreeze,
} from "@sovereign/core";
import { type Clock, timestampOf, Turns } from "../system/index.ts";
import type { LedgerRecord, Recorder, RecordVerdict } from "../kernel/index.ts";
import type { StepRow } from "./ports.ts";
import { isPlaceRefusal, RunPlaces } from "./run-places.ts";
import {
  type BreakerPlace,
  type CommitExtras,
  type CommitVerdict,
  type QueuePlace,
  type RunWrite,
  type StepStatus,
  StreamWriter,
} from "../ledger/index.ts";

/** What the steps of a run are held to. */
export interface RunBudget {
  readonly agent: string;
  /** The run's own limits; null for none. */
  readonly limits: BudgetLimits | null;
  /** The most that an attempt of an action uses. */
  mostOf(action: Action): BudgetAmount;
  /** Whom an action calls; null for nobody whose failures count. */
  calls(action: Action): BreakerPlace | null;
}

export interface RunRecorderOptions {
  readonly runId: string;
  readonly tenantId: string;
  readonly writer: StreamWriter;
  readonly clock: Clock;
  /** The fence that this process holds; null until the run's row is there. */
  readonly epoch: number | null;
  /** The run's trace up to here, where it has one: its rows go into the commits. */
  readonly trace?: RunTrace | null;
  /** Absent where no budget counts the run's steps. */
  readonly budget?: RunBudget;
}

/**
 * Records what happens in one run: entry, step row and run row in one commit, so that they can
 * not disagree. It holds the run's fence; once another process has it, every record is refused.
 *
 * It knows what was authorised at each place, which is a step and its attempt: a second
 * authorisation of a place, and an end of what was not authorised, are refused. One that goes on
 * with a run of an earlier process authorises nothing before it was told what that process did.
 */
export class RunRecorder implements Recorder {
  readonly #options: RunRecorderOptions;
  readonly #places: RunPlaces;
  /** Whom attempts of this process call, by step and attempt. */
  readonly #calls = new Map<string, BreakerPlace>();
  #epoch: number | null;
  #isSealed = false;
  /** Records whose answer was lost, all since the last one that is durable. */
  #unanswered: Written[] = [];
  readonly #turns = new Turns();

  constructor(options: RunRecorderOptions) {
    this.#options = ownOptions(options);
    const { writer, epoch } = this.#options;
    StreamWriter.assertMade(writer);
    this.#epoch = epoch;
    this.#places = new RunPlaces(writer.head.count === 0);
    Object.freeze(this);
  }

  /**
   * Go on from where an earlier process stopped.
   * @param steps what the chain of the run's entries says, as `readSteps` reads it
   * @throws TypeError the second time, and once anything was done
   */
  takeOver(steps: readonly StepRow[]): void {
    this.#places.takeOver(steps);
  }

  /** The steps that this process had authorised, or took over. */
  get known(): readonly StepRow[] {
    return this.#places.known;
  }

  /** True where an earlier process had exactly this authorised, and its end is not recorded. */
  wasLeftOpen({ step_id, attempt, run_id }: ActionContext, actionDigest: string): boolean {
    const mine = run_id === this.#options.runId;
    return mine && this.#places.wasLeftOpen({ stepId: step_id, attempt, actionDigest });
  }

  /** The port that the kernel writes through. */
  record(runId: string, record: LedgerRecord): Promise<RecordVerdict> {
    if (runId !== this.#options.runId) {
      const detail = `this recorder writes run ${this.#options.runId}`;
      return Promise.resolve({ status: "refused", reason: "invalid", detail });
    }
    return this.write(record);
  }

  /**
   * Record an entry together with the row of its step, and of the run. One after another.
   * @param queue where the run waits for a worker from here on; null for nowhere
   */
  write(
    record: LedgerRecord,
    run: RunWrite | null = null,
    queue?: QueuePlace | null,
  ): Promise<RecordVerdict> {
    const { runId } = this.#options;
    const rows = {
      ...(run === null ? {} : { run }),
      ...(queue === undefined ? {} : { queue: { runId, place: queue } }),
    };
    return this.#turns.take(() => this.#settled(this.#reserving(record), rows));
  }

  /** What is in a record's way may be one of ours, whose answer was lost. */
  async #settled(record: LedgerRecord, run: RunRows): Promise<RecordVerdict> {
    const verdict = await this.#judge(record, run);
    if (verdict.status === "committed" || verdict.reason !== "stream_conflict") return verdict;
    const found = await this.#options.writer.settle();
    const lost = this.#unanswered.find((one) => one.record.data === found?.fields.data);
    if (found === null || lost === undefined) return verdict;
    this.#keep(lost);
    // The very record that its caller was told is not durable: it is.
    if (lost.record === record) return { status: "committed", index: found.index };
    const unbegun = unbegunBy(lost.record);
    if (unbegun !== null) await this.#judge(unbegun, {});
    return this.#judge(record, run);
  }

  async #judge(record: LedgerRecord, run: RunRows): Promise<RecordVerdict> {
    const found = stepOf(record.event, record.data);
    if (found === null) return this.#write(record, null, run);
    const step = this.#places.judge(found);
    if (isPlaceRefusal(step)) {
      // A permission that was used before is that first, wherever it was to be used again.
      const reason = this.#places.isUsed(record.nonces) ? "nonce_used" : step.reason;
      return { status: "refused", reason, detail: step.detail };
    }
    if (step === "stays") return this.#write(record, null, run);
    return this.#write(record, step, run);
  }

  /** It is durable. */
  #keep({ record, step, change }: Written): void {
    if (step !== null) this.#places.keep(step, record.nonces);
    this.#options.trace?.keep(change);
    // The first commit made the run's row, whose fence starts at 1.
    this.#epoch ??= 1;
    this.#isSealed ||= record.event === SEAL;
    this.#unanswered = [];
  }

  /** What is authorised says what budgets hold for it. */
  #reserving(record: LedgerRecord): LedgerRecord {
    const { budget } = this.#options;
    if (budget === undefined || record.event !== "execution.authorized") return record;
    const action = record.data["action"] as unknown as Action;
    const reserved = { agent: budget.agent, ...budget.mostOf(action) };
    return { ...record, data: { ...record.data, reserved } };
  }

  #budgeted({ event, data }: LedgerRecord, timestamp: string): CommitExtras {
    const { budget, runId: stream } = this.#options;
    if (budget === undefined) return {};
    if (event === "run.admitted") {
      const { limits } = budget;
      return limits === null ? {} : { budget: { scope: "run", subject: stream, ...limits } };
    }
    const entry = { event_type: event, data, stream, timestamp };
    const [hold, settled] = [budgetHoldOf(entry), budgetEndOf(entry)];
    return {
      ...(hold === null ? {} : { hold }),
      ...(settled === null ? {} : { settled }),
      ...this.#called(budget, { event, data }),
    };
  }

  /** What its circuit breaker is asked of a call, or told of its end. */
  #called(
    budget: RunBudget,
    { event, data }: Pick<LedgerRecord, "event" | "data">,
  ): Pick<CommitExtras, "gate" | "probe"> {
    if (event === "execution.authorized") {
      const gate = budget.calls(data["action"] as unknown as Action);
      if (gate === null) return {};
      this.#calls.set(attemptOf(data["context"] as JsonObject), gate);
      return { gate };
    }
    const place = this.#calls.get(attemptOf(data));
    const ok = event === "execution.completed";
    if (place === undefined || !(ok || isFailing(event, data))) return {};
    return { probe: { ...place, ok } };
  }

  /** What the entry makes of the run's trace; null where it has none. */
  #traced({ event, data }: LedgerRecord, timestamp: string): TraceChange | null {
    const { runId, tenantId, writer, trace = null } = this.#options;
    if (trace === null) return null;
    const place = { timestamp, sequence: writer.head.count, tenant_id: tenantId, stream: runId };
    return trace.follow({ event_type: event, data, ...place });
  }

  async #write(record: LedgerRecord, step: StepRow | null, run: RunRows): Promise<RecordVerdict> {
    const { clock } = this.#options;
    const after = this.#afterSeal(record);
    if (after !== null) return after;
    const timestamp = timestampOf(clock);
    // It was judged before it waited for its turn; evidence is judged by the time of its entry.
    const late = record.nonces.find(({ expiresAt }) => timestamp > expiresAt);
    if (late !== undefined) {
      const detail = `a permission was good to ${late.expiresAt}; it is ${timestamp}`;
      return { status: "refused", reason: "expired", detail };
    }
    const written = { record, step, change: this.#traced(record, timestamp) };
    try {
      const verdict = await this.#append(written, timestamp, run);
      if (verdict.status === "refused") return verdict;
      this.#keep(written);
      return { status: "committed", index: verdict.firstIndex };
    } catch (error) {
      if (isSovereignError(error, "ERR_STORE_UNAVAILABLE")) this.#unanswered.push(written);
      throw error;
    }
  }

  #append(
    { record, step, change }: Written,
    timestamp: string,
    run: RunRows,
  ): Promise<CommitVerdict> {
    const { runId, tenantId, writer } = this.#options;
    return writer.append(
      {
        tenantId,
        runId,
        timestamp,
        eventType: record.event,
        severity: record.severity,
        data: record.data,
      },
      {
        envelopes: record.envelopes,
        nonces: record.nonces,
        ...(record.keyEpoch === null ? {} : { keyEpoch: record.keyEpoch }),
        ...(this.#epoch === null ? {} : { fence: { runId, epoch: this.#epoch } }),
        ...(step === null ? {} : { step: { runId, ...step } }),
        ...run,
        ...(change === null ? {} : { trace: change }),
        ...this.#budgeted(record, timestamp),
      },
    );
  }

  /** A seal is over everything before it, and nothing comes after it. */
  #afterSeal({ event, data }: LedgerRecord): RecordVerdict | null {
    if (this.#isSealed) {
      const detail = "the run has ended: it is sealed";
      return { status: "refused", reason: "fenced", detail };
    }
    const { count, hash } = this.#options.writer.head;
    if (event !== SEAL || (data["count"] === count && data["head"] === hash)) return null;
    // As the ledger would say it: what is in the way may be one of ours, whose answer was lost.
    const detail = `its proof is not over the ${count} entries that the run has now`;
    return { status: "refused", reason: "stream_conflict", detail };
  }
}

fixClass(RunRecorder);

const SEAL = "run.sealed";

/** Taken once: what a program does with its objects later changes nothing that is recorded. */
function ownOptions({ clock, budget, ...rest }: RunRecorderOptions): RunRecorderOptions {
  const { agent, limits } = budget ?? {};
  return Object.freeze<RunRecorderOptions>({
    ...rest,
    clock: { now: clock.now.bind(clock), monotonicMs: clock.monotonicMs.bind(clock) },
    ...(budget === undefined
      ? {}
      : {
          budget: {
            agent: agent ?? "",
            limits: deepFreeze(structuredClone(limits ?? null)),
            mostOf: budget.mostOf.bind(budget),
            calls: budget.calls.bind(budget),
          },
        }),
  });
}

/** A record on its way, and what becomes of its step and of the run's trace once it is durable. */
interface Written {
  readonly record: LedgerRecord;
  readonly step: StepRow | null;
  readonly change: TraceChange | null;
}

/**
 * Nothing begins whose beginning its caller was told is not durable. Where it is after all, this is
 * its end.
 */
function unbegunBy({ event, data }: LedgerRecord): LedgerRecord | null {
  if (event !== "execution.authorized") return null;
  const place = placeOf(data, data["context"]);
  if (place === null) return null;
  const { stepId: step_id, attempt, actionDigest: action_digest } = place;
  const code: ErrorCode = "ERR_STORE_UNAVAILABLE";
  const reason = "its beginning was recorded, and the answer was lost: it did not begin";
  return {
    event: "execution.failed",
    severity: "WARNING",
    data: { step_id, attempt, action_digest, code, reason },
    envelopes: [],
    nonces: [],
    keyEpoch: null,
  };
}

type RunRows = Pick<CommitExtras, "run" | "queue">;

function attemptOf({ step_id, attempt }: JsonObject): string {
  return canonicalize([step_id ?? null, attempt ?? null]);
}

const FAILING: ReadonlySet<unknown> = new Set<ErrorCode>([
  "ERR_SKILL_FAILED",
  "ERR_SKILL_TIMEOUT",
  "ERR_OUTCOME_UNKNOWN",
]);

/** True where whoever was called may be at fault. */
function isFailing(event: string, { code }: JsonObject): boolean {
  return event === "execution.failed" && FAILING.has(code);
}

const STEP_STATUS: Readonly<Record<string, StepStatus>> = {
  "execution.authorized": "running",
  "execution.completed": "completed",
  "execution.failed": "failed",
  "execution.killed": "killed",
  "execution.denied": "refused",
  "execution.pending": "refused",
  "execution.blocked": "refused",
  "execution.aborted": "refused",
};

/** What an entry says of a step; null where it speaks of none. */
export function stepOf(event: string, data: JsonObject): StepRow | null {
  const status = STEP_STATUS[event];
  if (status === undefined) return null;
  // The one event whose place is in its context: others may have a further field of that name.
  const place = placeOf(data, event === "execution.authorized" ? data["context"] : data);
  if (place === null) return null;
  const { artifacts, usage, output } = data;
  const completed = event === "execution.completed";
  return {
    status,
    ...place,
    output: completed
      ? canonicalBytes({ artifacts, usage, output } as Record<string, JsonValue>)
      : null,
  };
}

function placeOf(
  data: JsonObject,
  at: JsonValue | undefined,
): { stepId: string; attempt: number; actionDigest: string } | null {
  const { step_id: stepId, attempt } = (at ?? {}) as JsonObject;
  const { action_digest: actionDigest } = data;
  if (typeof stepId !== "string" || typeof attempt !== "number") return null;
  if (typeof actionDigest !== "string") return null;
  return { stepId, attempt, actionDigest };
}
