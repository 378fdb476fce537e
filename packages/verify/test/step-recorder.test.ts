import { SovereignError } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { isShortage, StepRecorder } from "../src/step-recorder.ts";

function statusAfter(work: () => unknown): ReturnType<StepRecorder["result"]> {
  const step = new StepRecorder("attestation");
  step.check("entries[3]", work);
  return step.result();
}

describe("a check", () => {
  it("that evidence makes throw anything at all is a failure at its place", () => {
    const thrown: unknown[] = [
      new TypeError("Cannot read properties of undefined"),
      new RangeError("Maximum call stack size exceeded"),
      "text",
      null,
    ];
    for (const error of thrown) {
      const { status, first_failure: failure } = statusAfter(() => {
        throw error;
      });
      expect(status).toBe("FAIL");
      expect(failure).toMatchObject({ place: "entries[3]", code: "ERR_VERIFY_INVALID" });
    }
  });

  it("tells what is missing and whom not to trust apart from what is wrong", () => {
    for (const [code, status] of [
      ["ERR_VERIFY_INVALID", "FAIL"],
      ["ERR_VERIFY_UNTRUSTED", "UNTRUSTED"],
      ["ERR_VERIFY_INCOMPLETE", "INCOMPLETE"],
    ] as const) {
      const result = statusAfter(() => {
        throw new SovereignError(code, "x");
      });
      expect(result.status).toBe(status);
    }
  });

  it("throws on what says that the machine does not suffice: ERR_VERIFY_RESOURCES at the door", () => {
    const short = Object.assign(new Error("EMFILE: too many open files"), { errno: -24 });
    for (const error of [short, new RangeError("Array buffer allocation failed")]) {
      expect(isShortage(error)).toBe(true);
      expect(() =>
        statusAfter(() => {
          throw error;
        }),
      ).toThrow(error.message);
    }
  });
});
