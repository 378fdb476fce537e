import {
  type ActionContext,
  cutText,
  deepFreeze,
  isSovereignError,
  type SovereignError,
} from "@sovereign/core";
import type { LedgerRecord, Recorder, RecordVerdict } from "./ports.ts";
import { ownField } from "./thrown.ts";

/** What could not be recorded when it happened, and whoever is writing it now. */
interface Waiting {
  readonly records: LedgerRecord[];
  writing: Promise<void> | null;
}

/**
 * Writes the records of runs. What cannot be made durable now is kept, in order, and goes first at
 * the next write of its run, once, however many write at that moment: so every refusal has its
 * entry.
 */
export class RunRecords {
  readonly #record: Recorder["record"];
  readonly #wasLeftOpen: NonNullable<Recorder["wasLeftOpen"]>;
  readonly #waiting = new Map<string, Waiting>();

  constructor(recorder: Recorder) {
    this.#record = recorder.record.bind(recorder);
    this.#wasLeftOpen = recorder.wasLeftOpen?.bind(recorder) ?? (() => true);
  }

  /** True where an attempt of an earlier process may be recalled. */
  wasLeftOpen(context: ActionContext, actionDigest: string): boolean {
    return this.#wasLeftOpen(context, actionDigest);
  }

  /**
   * @returns the ledger's verdict; or the error, where durability cannot be had now
   * @throws what is neither: the state of the ledger is then unknown
   */
  async write(runId: string, record: LedgerRecord): Promise<RecordVerdict | SovereignError> {
    try {
      await this.writeKept(runId);
      return await this.#write(runId, record);
    } catch (error) {
      if (!isSovereignError(error, "ERR_STORE_UNAVAILABLE")) throw error;
      // An intent that is not durable is no intent: only ends and refusals are kept.
      if (record.event !== "execution.authorized") this.#keep(runId, record);
      return error;
    }
  }

  /**
   * Write what was kept of a run.
   * @throws ERR_STORE_UNAVAILABLE where durability cannot be had now, either: it is still kept
   */
  writeKept(runId: string): Promise<void> {
    const waiting = this.#waiting.get(runId);
    if (waiting === undefined) return Promise.resolve();
    waiting.writing ??= this.#drain(runId, waiting).finally(() => {
      waiting.writing = null;
    });
    return waiting.writing;
  }

  async #drain(runId: string, { records }: Waiting): Promise<void> {
    while (records[0] !== undefined) {
      await this.#write(runId, records[0]);
      records.shift();
    }
    this.#waiting.delete(runId);
  }

  #keep(runId: string, record: LedgerRecord): void {
    const waiting = this.#waiting.get(runId) ?? { records: [], writing: null };
    waiting.records.push(record);
    this.#waiting.set(runId, waiting);
  }

  /** A refusal that the ledger cannot hold as it is stands there in a form that it can. */
  async #write(runId: string, record: LedgerRecord): Promise<RecordVerdict> {
    const verdict = await this.#try(runId, record);
    if (verdict.status !== "refused" || verdict.reason !== "invalid") return verdict;
    const plain = plainly(record, verdict.detail);
    return plain === null ? verdict : this.#try(runId, plain);
  }

  /** What can be no entry is refused by the ledger, whether it says so or throws. */
  async #try(runId: string, record: LedgerRecord): Promise<RecordVerdict> {
    try {
      return readVerdict(await this.#record(runId, record));
    } catch (error) {
      if (!isSovereignError(error) || !NO_ENTRY.includes(error.code)) throw error;
      return { status: "refused", reason: "invalid", detail: error.message };
    }
  }
}

const DETAIL_CHARS_MAX = 200;

/** Null for what is no refusal: it has nothing but itself to say. */
function plainly({ data, ...record }: LedgerRecord, detail: string): LedgerRecord | null {
  const { step_id = null, attempt = null, action_digest = null, code, reason } = data;
  if (code === undefined || reason === undefined) return null;
  const said = `not recordable as it was: ${cutText(detail, DETAIL_CHARS_MAX)}`;
  return deepFreeze({ ...record, data: { step_id, attempt, action_digest, code, reason: said } });
}

const NO_ENTRY: readonly string[] = [
  "ERR_ENTRY_TOO_LARGE",
  "ERR_FORMAT_INVALID",
  "ERR_JSON_UNSUPPORTED",
  "ERR_JSON_TOO_DEEP",
];

/** Read once, and into a verdict of our own. @param given untrusted: anything at all */
function readVerdict(given: unknown): RecordVerdict {
  const none = { status: "refused", reason: "invalid", detail: NO_VERDICT } as const;
  const status = ownField(given, "status");
  if (status === "committed") {
    const index = ownField(given, "index");
    return typeof index === "number" && Number.isSafeInteger(index) ? { status, index } : none;
  }
  const reason = ownField(given, "reason");
  const detail = ownField(given, "detail");
  const known = REASONS.find((one) => one === reason);
  if (status !== "refused" || known === undefined) return none;
  return { status, reason: known, detail: typeof detail === "string" ? detail : NO_VERDICT };
}

const NO_VERDICT = "the recorder gave no verdict";

type Reason = Extract<RecordVerdict, { status: "refused" }>["reason"];
const REASONS: readonly Reason[] = [
  "nonce_used",
  "key_epoch",
  "fenced",
  "stream_conflict",
  "invalid",
  "expired",
  "budget",
  "breaker",
  "repeated",
  "unauthorised",
];
