import type { StepRow } from "./ports.ts";

/** Why an entry does not belong where it is to stand. */
export interface PlaceRefusal {
  readonly reason: "repeated" | "unauthorised";
  readonly detail: string;
}

/** What becomes of a step by one more entry: its new state, or none where the old one stays. */
export type PlaceVerdict = StepRow | "stays" | PlaceRefusal;

/**
 * The law of a place, which is a step and its attempt: unknown → authorised → ended. It is
 * authorised once, it ends once, and a later attempt begins only where the one before it did not
 * complete. A refusal changes nothing of what was authorised.
 *
 * INVARIANT: one place, one effect.
 *
 * @param known the step as the entries before it say; undefined for none
 * @param next what the entry says
 * @param isOpen true while the effect of the known attempt may still run
 */
export function judgePlace(
  known: StepRow | undefined,
  next: StepRow,
  isOpen: boolean,
): PlaceVerdict {
  switch (next.status) {
    case "running":
      return judgeAuthorised(known, next, isOpen);
    case "completed":
    case "failed":
    case "killed":
      return isExecuting(known, next) ? next : unauthorised(known, next);
    case "refused":
      return (known?.status ?? "refused") === "refused" ? next : "stays";
  }
}

export function isPlaceRefusal(verdict: PlaceVerdict): verdict is PlaceRefusal {
  return typeof verdict === "object" && "reason" in verdict;
}

/** True where exactly this action was authorised at exactly this place, and has no end. */
function isExecuting(
  known: StepRow | undefined,
  { attempt, actionDigest }: Pick<StepRow, "attempt" | "actionDigest">,
): known is StepRow {
  if (known?.status !== "running") return false;
  return known.attempt === attempt && known.actionDigest === actionDigest;
}

function judgeAuthorised(known: StepRow | undefined, next: StepRow, isOpen: boolean): PlaceVerdict {
  if (known === undefined || mayBegin(known, next, isOpen)) return next;
  const { stepId, attempt } = next;
  const found = `attempt ${known.attempt} of ${stepId} ${WORDS[known.status]}`;
  const detail = `attempt ${attempt} of ${stepId} may not begin: ${found}`;
  return { reason: "repeated", detail };
}

const WORDS: Readonly<Record<StepRow["status"], string>> = {
  running: "was authorised before",
  completed: "has completed",
  failed: "has failed",
  killed: "was killed",
  refused: "was asked for before",
};

function mayBegin(known: StepRow, { attempt }: StepRow, isOpen: boolean): boolean {
  if (known.status === "completed") return false;
  // Nothing of it was authorised yet: what was is never replaced by a refusal.
  if (known.status === "refused") return true;
  return attempt > known.attempt && !(known.status === "running" && isOpen);
}

function unauthorised(known: StepRow | undefined, { stepId, attempt }: StepRow): PlaceRefusal {
  const found =
    known === undefined
      ? "nothing of it was"
      : `its attempt ${known.attempt} ${WORDS[known.status]}`;
  const detail = `an end of attempt ${attempt} of ${stepId} without its authorisation: ${found}`;
  return { reason: "unauthorised", detail };
}

/** The places of one run, while one process records it. */
export class RunPlaces {
  /** Null while nobody has said what an earlier process did. */
  #steps: Map<string, StepRow> | null;
  /** Steps whose effect this process may be at. */
  readonly #open = new Set<string>();
  readonly #nonces = new Set<string>();
  #isTold = false;

  /** @param isNew true where no process has written in the run before */
  constructor(isNew: boolean) {
    this.#steps = isNew ? new Map() : null;
  }

  /**
   * Take over what the chain of the run's entries says, before anything is done.
   * @throws TypeError the second time, or later: what was done since would be forgotten
   */
  takeOver(steps: readonly StepRow[]): void {
    if (this.#isTold) throw new TypeError("what earlier processes did is taken over once");
    this.#isTold = true;
    this.#steps = new Map(steps.map((step) => [step.stepId, step]));
  }

  get known(): readonly StepRow[] {
    return [...(this.#steps?.values() ?? [])];
  }

  judge(next: StepRow): PlaceVerdict {
    if (this.#steps !== null) {
      return judgePlace(this.#steps.get(next.stepId), next, this.#open.has(next.stepId));
    }
    if (next.status === "refused") return "stays";
    const detail = "what an earlier process did in this run was not read";
    return { reason: next.status === "running" ? "repeated" : "unauthorised", detail };
  }

  /** What was judged is durable now. */
  keep(step: StepRow, nonces: readonly { readonly nonce: string }[]): void {
    this.#isTold = true;
    this.#steps?.set(step.stepId, step);
    for (const { nonce } of nonces) this.#nonces.add(nonce);
    if (step.status === "running") this.#open.add(step.stepId);
    else if (step.status !== "refused") this.#open.delete(step.stepId);
  }

  /** True where one of these was used up by an entry of this process. */
  isUsed(nonces: readonly { readonly nonce: string }[]): boolean {
    return nonces.some(({ nonce }) => this.#nonces.has(nonce));
  }

  /** True where an earlier process had exactly this authorised, and its end is not recorded. */
  wasLeftOpen(place: Pick<StepRow, "stepId" | "attempt" | "actionDigest">): boolean {
    const { stepId } = place;
    return !this.#open.has(stepId) && isExecuting(this.#steps?.get(stepId), place);
  }
}
