import { concatBytes, hexDecode } from "../bytes/index.ts";
import { digestOf, sha256, sha256Hex } from "../digest/index.ts";
import type {
  JsonObject,
  JsonValue,
  LedgerEntry,
  TraceHead,
  TraceSeal,
  TraceStep,
} from "../formats/index.ts";
import { canonicalBytes, fixClass } from "../json/index.ts";

/** What a trace reads of an entry. */
export type TracedEntry = Pick<
  LedgerEntry,
  "event_type" | "data" | "timestamp" | "sequence" | "tenant_id" | "stream"
>;

/** What an entry makes of a trace: the rows that it writes. */
export interface TraceChange {
  readonly head: TraceHead;
  readonly steps: readonly TraceStep[];
}

/** The ends of what was begun; the others refuse what never began. */
const ENDS: Readonly<Record<string, TraceStep["status"]>> = {
  "execution.completed": "completed",
  "execution.failed": "failed",
  "execution.killed": "killed",
};
const REFUSALS: ReadonlySet<string> = new Set([
  "execution.denied",
  "execution.pending",
  "execution.blocked",
  "execution.aborted",
  "execution.unavailable",
]);

/** The effect ran, and its end could not be recorded. No other event says that of a step. */
function isLost(event: string, data: JsonObject): boolean {
  return event === "execution.unavailable" && data["effectRan"] === true;
}

function placeOf(stepId: string, attempt: number): string {
  return `${attempt} ${stepId}`;
}

export function traceIdOf(runId: string): string {
  return `trc_${runId.slice("run_".length)}`;
}

/**
 * The steps of one run, as its entries say. Whoever records, proves and verifies a run makes the same
 * steps of the same entries, so nothing in a table is believed.
 */
export class RunTrace {
  #head: TraceHead | null = null;
  readonly #steps: TraceStep[] = [];
  /** Attempts without an end, by their place, and whether one of them still runs. */
  readonly #open = new Map<string, number>();
  readonly #running = new Set<number>();

  /** True for one as it was made before: of an end that was recorded after all, a refused step more. */
  readonly #repeatsEnds: boolean;

  constructor(repeatsEnds = false) {
    this.#repeatsEnds = repeatsEnds;
    Object.freeze(this);
  }

  /**
   * The trace of a stream's entries.
   *
   * @param entries in their order
   * @param fits whether it is the one that was kept or sealed: an earlier version may have made another
   *   of the same entries, and what it sealed stays what it is
   */
  static of(
    entries: readonly TracedEntry[],
    fits: (trace: RunTrace) => boolean = () => true,
  ): RunTrace {
    const trace = RunTrace.#made(entries, false);
    if (fits(trace)) return trace;
    const before = RunTrace.#made(entries, true);
    return fits(before) ? before : trace;
  }

  static #made(entries: readonly TracedEntry[], repeatsEnds: boolean): RunTrace {
    const trace = new RunTrace(repeatsEnds);
    for (const entry of entries) trace.keep(trace.follow(entry));
    return trace;
  }

  /** True where a run's proof names this very chain of steps, or none. */
  isSealedAs(seal: TraceSeal | undefined): boolean {
    return seal === undefined || (this.#head !== null && digestOf(this.seal()) === digestOf(seal));
  }

  /** Null before the run is admitted. */
  get head(): TraceHead | null {
    return this.#head;
  }

  get steps(): readonly TraceStep[] {
    return this.#steps;
  }

  /** The last attempt of a step; undefined where there was none. */
  last(stepId: string): TraceStep | undefined {
    return this.#steps.findLast((step) => step.step_id === stepId);
  }

  /** What an entry makes of the trace. It is kept by {@link keep}, once the entry is durable. */
  follow(entry: TracedEntry): TraceChange | null {
    const { event_type: event } = entry;
    if (event === "run.admitted") return { head: admittedHead(entry), steps: [] };
    const head = this.#head;
    if (head === null) return null;
    if (event === "run.resumed") return this.#lost(head);
    if (event === "run.sealed") return this.#sealed(head, entry);
    const step = this.#stepOf(head, entry);
    if (step === null) return null;
    const step_count = Math.max(head.step_count, step.index + 1);
    return { head: { ...head, step_count }, steps: [step] };
  }

  keep(change: TraceChange | null): void {
    if (change === null) return;
    this.#head = change.head;
    for (const step of change.steps) {
      const { index, status } = step;
      this.#steps[index] = step;
      if (status === "running") this.#running.add(index);
      else this.#running.delete(index);
      const place = placeOf(step.step_id, step.attempt);
      if (status === "running" || status === "unknown") this.#open.set(place, index);
      else if (this.#open.get(place) === index) this.#open.delete(place);
    }
  }

  #stepOf(head: TraceHead, entry: TracedEntry): TraceStep | null {
    const { event_type: event } = entry;
    if (event === "execution.authorized") return this.#begun(head, entry);
    if (event === "step.skipped") return this.#skipped(head, entry);
    const ended = this.#ended(entry);
    if (ended !== null) return ended;
    // Its end was recorded after all, before this: the attempt has its step.
    if (isLost(event, entry.data) && !this.#repeatsEnds) return null;
    return REFUSALS.has(event) ? this.#refused(head, entry) : null;
  }

  #begun(head: TraceHead, entry: TracedEntry): TraceStep {
    const { data, sequence } = entry;
    const context = objectOf(data["context"]);
    const stepId = textOf(context["step_id"]);
    return {
      ...this.#blank(head, entry, stepId, numberOf(context["attempt"])),
      ...actionOf(objectOf(data["action"])),
      action_digest: textOf(data["action_digest"]),
      status: "running",
      idempotency_key: digestOf({ run_id: head.run_id, step_id: stepId }),
      begun_by: sequence,
    };
  }

  #ended({ event_type: event, data, timestamp, sequence }: TracedEntry): TraceStep | null {
    const status = ENDS[event] ?? (isLost(event, data) ? "unknown" : undefined);
    if (status === undefined) return null;
    const place = placeOf(textOf(data["step_id"]), numberOf(data["attempt"]));
    const open = this.#steps[this.#open.get(place) ?? -1];
    if (open === undefined) return null;
    const done = status === "completed";
    const output = done ? (data["output"] ?? null) : null;
    return {
      ...open,
      status,
      output,
      output_digest: done ? digestOf(output) : null,
      artifacts: done ? artifactsOf(data) : [],
      category: verbOf(event),
      ...(done ? {} : whyOf(data)),
      cost_microusd: numberOf(objectOf(output)["cost_microusd"]),
      duration_ms: Math.max(0, Date.parse(timestamp) - Date.parse(open.started_at)),
      ended_at: timestamp,
      ended_by: sequence,
    };
  }

  #refused(head: TraceHead, entry: TracedEntry): TraceStep {
    const { event_type: event, data, sequence, timestamp } = entry;
    const stepId = textOf(data["step_id"]);
    return {
      ...this.#blank(head, entry, stepId, numberOf(data["attempt"])),
      // The one refusal whose form has an action: another may have a further field of that name.
      ...actionOf(event === "execution.denied" ? objectOf(data["action"]) : {}),
      action_digest: textOf(data["action_digest"]),
      status: "refused",
      category: verbOf(event),
      ...whyOf(data),
      ended_at: timestamp,
      ended_by: sequence,
    };
  }

  #skipped(head: TraceHead, entry: TracedEntry): TraceStep {
    const { data, sequence, timestamp } = entry;
    return {
      ...this.#blank(head, entry, textOf(data["step_id"]), 0),
      skill: textOf(data["skill"]),
      status: "skipped",
      category: "skipped",
      ...whyOf(data),
      ended_at: timestamp,
      ended_by: sequence,
    };
  }

  #blank(head: TraceHead, { timestamp }: TracedEntry, stepId: string, attempt: number): TraceStep {
    return {
      trace_id: head.trace_id,
      run_id: head.run_id,
      tenant_id: head.tenant_id,
      index: this.#steps.length,
      step_id: stepId,
      attempt,
      skill: "",
      skill_version: null,
      resource: null,
      action_digest: null,
      input: null,
      input_digest: null,
      output: null,
      output_digest: null,
      artifacts: [],
      status: "running",
      category: null,
      code: null,
      reason: null,
      cost_microusd: 0,
      duration_ms: null,
      idempotency_key: null,
      started_at: timestamp,
      ended_at: null,
      begun_by: null,
      ended_by: null,
    };
  }

  /** Another process went on: what the one before left without an end has none that is known. */
  #lost(head: TraceHead): TraceChange {
    const lost = [...this.#running].flatMap((index) => this.#steps[index] ?? []);
    return { head, steps: lost.map((step) => ({ ...step, status: "unknown" as const })) };
  }

  #sealed(head: TraceHead, { data, timestamp }: TracedEntry): TraceChange {
    const { steps } = this.#lost(head);
    const { root_hash } = traceSealOf(head, this.#withLost());
    const status = textOf(data["status"]) as TraceHead["status"];
    return { head: { ...head, status, completed_at: timestamp, root_hash }, steps };
  }

  #withLost(): TraceStep[] {
    return this.#steps.map((step) =>
      step.status === "running" ? { ...step, status: "unknown" as const } : step,
    );
  }

  /** What is sealed of it, as it stands. @throws TypeError before the run is admitted */
  seal(): TraceSeal {
    if (this.#head === null) throw new TypeError("a trace of a run that was not admitted");
    return traceSealOf(this.#head, this.#withLost());
  }
}

fixClass(RunTrace);

/**
 * The chain over whole steps: each link is the SHA-256 of the one before and of the step's digest. The
 * first link names tenant, run and plan, so that no step of another run has a place in it.
 *
 * @param steps in the order of their index
 */
export function traceSealOf(
  { trace_id, run_id, tenant_id, plan_digest, started_at }: Omit<TraceHead, "root_hash">,
  steps: readonly TraceStep[],
): TraceSeal {
  const first = { format: "sovereign.trace", trace_id, run_id, tenant_id, plan_digest, started_at };
  let link = digestOf(first);
  for (const step of steps) {
    const leaf = sha256(canonicalBytes(step));
    link = sha256Hex(concatBytes(hexDecode(link), leaf));
  }
  return { trace_id, model: "HASH_CHAIN", root_hash: link, chain_length: steps.length };
}

function admittedHead({ data, timestamp, tenant_id, stream }: TracedEntry): TraceHead {
  return {
    trace_id: traceIdOf(stream),
    run_id: stream,
    tenant_id,
    plan_digest: textOf(data["plan_digest"]),
    status: "running",
    started_at: timestamp,
    completed_at: null,
    step_count: 0,
    root_hash: null,
  };
}

function actionOf(
  action: JsonObject,
): Pick<TraceStep, "skill" | "skill_version" | "resource" | "input" | "input_digest"> {
  const type = textOf(action["type"]);
  const params = action["params"] ?? null;
  const version = objectOf(params)["version"];
  return {
    skill: type.startsWith("skill.") ? type.slice("skill.".length) : type,
    skill_version: typeof version === "string" ? version : null,
    resource: typeof action["resource"] === "string" ? action["resource"] : null,
    input: params,
    input_digest: params === null ? null : digestOf(params),
  };
}

/** Whose form the event's own schema holds it to. */
function artifactsOf({ artifacts }: JsonObject): TraceStep["artifacts"] {
  return Array.isArray(artifacts) ? (artifacts as TraceStep["artifacts"]) : [];
}

function whyOf(data: JsonObject): Pick<TraceStep, "code" | "reason"> {
  const { code, reason } = data;
  return {
    code: typeof code === "string" ? code : null,
    // A text of the database can hold no NUL.
    reason: typeof reason === "string" ? reason.replaceAll("\0", "\ufffd") : null,
  };
}

function verbOf(event: string): string {
  return event.slice(event.indexOf(".") + 1);
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: JsonValue | undefined): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
