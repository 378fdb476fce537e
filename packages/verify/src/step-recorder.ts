import {
  type ErrorCode,
  isSovereignError,
  SovereignError,
  type StepName,
  type VerificationStep,
  fixClass,
} from "@sovereign/core";

type Status = VerificationStep["status"];

/** From bad to good: the worst thing found is the step's status. */
const ORDER: readonly Status[] = ["FAIL", "UNTRUSTED", "INCOMPLETE", "NOT_RUN", "PASS"];

/** Gathers the checks of one step: how many, how many passed, where the first one failed. */
export class StepRecorder {
  readonly #name: StepName;
  readonly #details: VerificationStep["details"] = {};
  #checked = 0;
  #passed = 0;
  #status: Status = "PASS";
  #firstFailure: VerificationStep["first_failure"] = null;

  constructor(name: StepName) {
    this.#name = name;
    Object.freeze(this);
  }

  /**
   * Make one check. Evidence that is wrong is recorded, whatever it makes of us: who writes evidence
   * must not be able to keep a verdict from being told.
   *
   * @throws only what says that the machine's memory or files do not suffice
   */
  check<T>(place: string, work: () => T): T | null {
    this.#checked += 1;
    const done = this.guard(place, work);
    if (done === null) return null;
    this.#passed += 1;
    return done.value;
  }

  /** The same around a whole step, which counts its checks itself. */
  guard<T>(place: string, work: () => T): { readonly value: T } | null {
    try {
      return { value: work() };
    } catch (error) {
      const { code, message } = failureOf(error);
      this.#record(statusOf(code), place, code, message);
      return null;
    }
  }

  /** The step asks nothing of this evidence. */
  notApplicable(why: string): void {
    this.#status = "NOT_RUN";
    this.detail("not_applicable", why);
  }

  detail(name: string, value: string | number | boolean): void {
    this.#details[name] = value;
  }

  result(): VerificationStep {
    return {
      name: this.#name,
      status: this.#status,
      checked: this.#checked,
      passed: this.#passed,
      details: this.#details,
      first_failure: this.#firstFailure,
    };
  }

  /** The first failure of the worst kind stands: a missing trust root must not hide a forgery. */
  #record(status: Status, place: string, code: string, message: string): void {
    if (ORDER.indexOf(status) >= ORDER.indexOf(this.#status)) return;
    this.#status = status;
    this.#firstFailure = { place, code, message };
  }
}

fixClass(StepRecorder);

/** What is wrong with the machine, and says nothing of the evidence. */
export function isShortage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("errno" in error) return true;
  return /^(Invalid (string|array|array buffer|typed array) length|Array buffer allocation)/.test(
    error.message,
  );
}

/** What an error says of the evidence. @throws what says nothing of it, see {@link isShortage} */
export function failureOf(error: unknown): { code: ErrorCode; message: string } {
  if (isSovereignError(error)) return { code: error.code, message: error.message };
  if (isShortage(error)) throw error;
  return { code: "ERR_VERIFY_INVALID", message: `It cannot be judged: ${textOf(error)}` };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : "what was thrown is no error";
}

/** What could not be looked at is not shown to be wrong. */
const INCOMPLETE: ReadonlySet<ErrorCode> = new Set([
  "ERR_VERIFY_INCOMPLETE",
  "ERR_GIT_OBJECT_MISSING",
  "ERR_GIT_OBJECT_LIMIT",
]);

/** True for what says only that something could not be looked at. */
export function isLacking(error: unknown): boolean {
  return isSovereignError(error) && INCOMPLETE.has(error.code);
}

function statusOf(code: ErrorCode): Status {
  if (code === "ERR_VERIFY_UNTRUSTED") return "UNTRUSTED";
  if (INCOMPLETE.has(code)) return "INCOMPLETE";
  return "FAIL";
}

/** Evidence contradicts itself or the rules. */
export function wrong(message: string): SovereignError {
  return new SovereignError("ERR_VERIFY_INVALID", message);
}

/** @throws ERR_VERIFY_INVALID unless the two are equal */
export function expectEqual(found: unknown, expected: unknown, what: string): void {
  if (found === expected) return;
  throw wrong(`${what}: expected ${String(expected)}, found ${String(found)}.`);
}
