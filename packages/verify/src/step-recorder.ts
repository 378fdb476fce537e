import {
  type ErrorCode,
  isSovereignError,
  SovereignError,
  type StepName,
  type VerificationStep,
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
  }

  /** Make one check. Evidence that is wrong is recorded; a fault of ours is thrown on. */
  check<T>(place: string, work: () => T): T | null {
    this.#checked += 1;
    try {
      const value = work();
      this.#passed += 1;
      return value;
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      this.#record(statusOf(error.code), place, error.code, error.message);
      return null;
    }
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

/** What could not be looked at is not shown to be wrong. */
const INCOMPLETE: ReadonlySet<ErrorCode> = new Set([
  "ERR_VERIFY_INCOMPLETE",
  "ERR_GIT_OBJECT_MISSING",
  "ERR_GIT_OBJECT_LIMIT",
]);

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
