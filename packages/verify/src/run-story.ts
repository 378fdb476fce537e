import type { ArtifactRef, EntryData, JsonObject, JsonValue, PlacedEntry } from "@sovereign/core";
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

/** What the run did up to an entry: what later entries claim is held against it. */
export class RunStory {
  readonly #steps = new Map<string, DoneStep>();
  /** Roles of which the run says that they did not vote. */
  readonly abstained = new Set<string>();

  /** By the step's id; of several attempts the last. */
  get steps(): ReadonlyMap<string, DoneStep> {
    return this.#steps;
  }

  /** @throws ERR_VERIFY_INVALID for an entry that is not what its event demands */
  follow(evidence: Evidence, placed: PlacedEntry): void {
    const { event_type: event } = placed.entry;
    if (event === "execution.authorized") this.#authorized(evidence.events.data(placed, event));
    if (event === "execution.completed") this.#completed(evidence.events.data(placed, event));
    if (event === "agent.abstained") this.abstained.add(evidence.events.data(placed, event).role);
  }

  #authorized({ action, context }: EntryData<"execution.authorized">): void {
    const { type, resource, params } = action;
    const { role, step_id: step } = context;
    this.#steps.set(step, { type, resource, params, role, completed: null });
  }

  #completed({ step_id: step, artifacts, output }: EntryData<"execution.completed">): void {
    const begun = this.#steps.get(step);
    if (begun !== undefined) this.#steps.set(step, { ...begun, completed: { artifacts, output } });
  }
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
