import {
  type ArtifactRef,
  digestOf,
  type EntryData,
  type JsonObject,
  type JsonValue,
  type PlacedEntry,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";

/** What one step did, as its signed authorisation and its outcome say. */
export interface DoneStep {
  readonly type: string;
  readonly resource: string;
  readonly params: JsonObject;
  readonly role: string;
  /** Null while it has not completed. */
  readonly completed: {
    readonly artifacts: readonly ArtifactRef[];
    readonly output: JsonValue;
  } | null;
}

/** An attempt that was authorised, until its end. */
interface Begun {
  readonly attempt: number;
  readonly action: string;
}

/** Steps by a name that they have in common, such as a ballot; each list has its steps by their ids. */
class StepIndex {
  readonly #lists = new Map<string, Map<string, DoneStep>>();

  put(name: string, id: string, step: DoneStep): void {
    const list = this.#lists.get(name);
    if (list === undefined) this.#lists.set(name, new Map([[id, step]]));
    else list.set(id, step);
  }

  drop(name: string, id: string): void {
    this.#lists.get(name)?.delete(id);
  }

  of(name: string): ReadonlyMap<string, DoneStep> {
    return this.#lists.get(name) ?? NO_STEPS;
  }
}

const NO_STEPS: ReadonlyMap<string, DoneStep> = new Map();

/** What the run did up to an entry: what later entries claim is held against it. */
export class RunStory {
  readonly #steps = new Map<string, DoneStep>();
  readonly #begun = new Map<string, Begun>();
  /** Agents that judge, by their ballot; rollbacks, by the digest of what they gave back. */
  readonly #judges = new StepIndex();
  readonly #rollbacks = new StepIndex();
  #agents = 0;
  /** Roles of which the run says that they did not vote. */
  readonly abstained = new Set<string>();

  /** By the step's id; of several attempts the last. */
  get steps(): ReadonlyMap<string, DoneStep> {
    return this.#steps;
  }

  /** True from the first action by which a coding agent works. */
  get ranAgent(): boolean {
    return this.#agents > 0;
  }

  /** The actions that judge in a ballot, by their steps' ids: each at `<ballot>.<role>`. */
  judges(ballot: string): ReadonlyMap<string, DoneStep> {
    return this.#judges.of(ballot);
  }

  /** A rollback that gave back what has this digest. @param stage the only step that it may be */
  rolledBack(digest: string, stage: string | undefined): DoneStep | undefined {
    const found = this.#rollbacks.of(digest);
    if (stage !== undefined) return found.get(stage);
    const [first] = found.values();
    return first;
  }

  /** @throws ERR_VERIFY_INVALID for an entry that is not what its event demands */
  follow(evidence: Evidence, placed: PlacedEntry): void {
    const { event_type: event } = placed.entry;
    if (event === "execution.authorized") this.#authorized(evidence.events.data(placed, event));
    if (event === "execution.completed") this.#completed(evidence.events.data(placed, event));
    if (event === "agent.abstained") this.abstained.add(evidence.events.data(placed, event).role);
  }

  #authorized({ action, context, action_digest }: EntryData<"execution.authorized">): void {
    const { type, resource, params } = action;
    const { role, step_id: id, attempt } = context;
    this.#forget(id);
    this.#begun.set(id, { attempt, action: action_digest });
    this.#put(id, { type, resource, params, role, completed: null });
    if (type === "agent.run") this.#agents += 1;
  }

  /** What another attempt gave back is nothing that this one was authorised for. */
  #completed(data: EntryData<"execution.completed">): void {
    const { step_id: id, attempt, action_digest: action, artifacts, output } = data;
    const [step, begun] = [this.#steps.get(id), this.#begun.get(id)];
    if (step === undefined || begun?.attempt !== attempt || begun.action !== action) return;
    this.#put(id, { ...step, completed: { artifacts, output } });
  }

  #put(id: string, step: DoneStep): void {
    this.#steps.set(id, step);
    const ballot = ballotOf(id, step);
    if (ballot !== null) this.#judges.put(ballot, id, step);
    const given = givenBack(step);
    if (given !== null) this.#rollbacks.put(given, id, step);
  }

  #forget(id: string): void {
    const step = this.#steps.get(id);
    if (step === undefined) return;
    const ballot = ballotOf(id, step);
    if (ballot !== null) this.#judges.drop(ballot, id);
    const given = givenBack(step);
    if (given !== null) this.#rollbacks.drop(given, id);
  }
}

function ballotOf(id: string, { type, role }: DoneStep): string | null {
  const isJudge = type === "agent.judge" && id.endsWith(`.${role}`);
  return isJudge ? id.slice(0, -role.length - 1) : null;
}

function givenBack({ type, completed }: DoneStep): string | null {
  return type === "model.rollback" && completed !== null ? digestOf(completed.output) : null;
}

/** The digests that an action was given, by the name of the input. */
export function inputsOf({ params }: DoneStep): Record<string, string> {
  const { inputs } = params;
  if (typeof inputs !== "object" || inputs === null || Array.isArray(inputs)) return {};
  return Object.fromEntries(
    Object.entries(inputs).flatMap(([name, given]): [string, string][] => {
      const digest = (given as JsonObject | null)?.["sha256"];
      return typeof digest === "string" ? [[name, digest]] : [];
    }),
  );
}
