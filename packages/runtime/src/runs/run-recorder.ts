import {
  type ActionContext,
  canonicalBytes,
  type JsonObject,
  type JsonValue,
} from "@sovereign/core";
import { type Clock, timestampOf } from "../system/index.ts";
import type { LedgerRecord, Recorder, RecordVerdict } from "../kernel/index.ts";
import type { StepRow } from "./ports.ts";
import { isPlaceRefusal, RunPlaces } from "./run-places.ts";
import type { RunWrite, StepStatus, StepWrite, StreamWriter } from "../ledger/index.ts";

export interface RunRecorderOptions {
  readonly runId: string;
  readonly tenantId: string;
  readonly writer: StreamWriter;
  readonly clock: Clock;
  /** The fence that this process holds; null until the run's row is there. */
  readonly epoch: number | null;
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
  #epoch: number | null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: RunRecorderOptions) {
    this.#options = options;
    this.#epoch = options.epoch;
    this.#places = new RunPlaces(options.writer.head.count === 0);
  }

  /**
   * Go on from where an earlier process stopped.
   * @param steps what the chain of the run's entries says, as `readSteps` reads it
   */
  takeOver(steps: readonly StepRow[]): void {
    this.#places.takeOver(steps);
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

  /** Record an entry together with the row of its step, and of the run. One after another. */
  write(record: LedgerRecord, run: RunWrite | null = null): Promise<RecordVerdict> {
    const next = this.#last.then(() => this.#judge(record, run));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #judge(record: LedgerRecord, run: RunWrite | null): Promise<RecordVerdict> {
    const found = stepOf(record.event, record.data);
    if (found === null) return this.#write(record, null, run);
    const step = this.#places.judge(found);
    if (isPlaceRefusal(step)) {
      // A permission that was used before is that first, wherever it was to be used again.
      const reason = this.#places.isUsed(record.nonces) ? "nonce_used" : step.reason;
      return { status: "refused", reason, detail: step.detail };
    }
    if (step === "stays") return this.#write(record, null, run);
    const verdict = await this.#write(record, { runId: this.#options.runId, ...step }, run);
    if (verdict.status === "committed") this.#places.keep(step, record.nonces);
    return verdict;
  }

  async #write(
    record: LedgerRecord,
    step: StepWrite | null,
    run: RunWrite | null,
  ): Promise<RecordVerdict> {
    const { runId, tenantId, writer, clock } = this.#options;
    const verdict = await writer.append(
      {
        tenantId,
        runId,
        timestamp: timestampOf(clock),
        eventType: record.event,
        severity: record.severity,
        data: record.data,
      },
      {
        envelopes: record.envelopes,
        nonces: record.nonces,
        ...(record.keyEpoch === null ? {} : { keyEpoch: record.keyEpoch }),
        ...(this.#epoch === null ? {} : { fence: { runId, epoch: this.#epoch } }),
        ...(step === null ? {} : { step }),
        ...(run === null ? {} : { run }),
      },
    );
    if (verdict.status === "refused") return verdict;
    // The first commit made the run's row, whose fence starts at 1.
    this.#epoch ??= 1;
    return { status: "committed", index: verdict.firstIndex };
  }
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
  const place = placeOf(data);
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
): { stepId: string; attempt: number; actionDigest: string } | null {
  const context = (data["context"] ?? data) as JsonObject;
  const { step_id: stepId, attempt } = context;
  const { action_digest: actionDigest } = data;
  if (typeof stepId !== "string" || typeof attempt !== "number") return null;
  if (typeof actionDigest !== "string") return null;
  return { stepId, attempt, actionDigest };
}
