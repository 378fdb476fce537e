import { canonicalBytes, type JsonObject, type JsonValue } from "@sovereign/core";
import { type Clock, timestampOf } from "../system/index.ts";
import type { LedgerRecord, Recorder, RecordVerdict } from "../kernel/index.ts";
import type { StepRow } from "./ports.ts";
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
 */
export class RunRecorder implements Recorder {
  readonly #options: RunRecorderOptions;
  #epoch: number | null;

  constructor(options: RunRecorderOptions) {
    this.#options = options;
    this.#epoch = options.epoch;
  }

  /** The port that the kernel writes through. */
  record(runId: string, record: LedgerRecord): Promise<RecordVerdict> {
    if (runId !== this.#options.runId) {
      const detail = `this recorder writes run ${this.#options.runId}`;
      return Promise.resolve({ status: "refused", reason: "invalid", detail });
    }
    return this.write(record, stepWriteOf(runId, record));
  }

  /** Record an entry together with rows of the run and of a step. */
  async write(
    record: LedgerRecord,
    step: StepWrite | null,
    run: RunWrite | null = null,
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

function stepWriteOf(runId: string, { event, data }: LedgerRecord): StepWrite | null {
  const step = stepOf(event, data);
  return step === null ? null : { runId, ...step };
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
