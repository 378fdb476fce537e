import { SovereignError } from "@sovereign/core";
import { z } from "zod";
import { defineSkill } from "../skill.ts";

const FAILURES = {
  STEP_FAILURE: "ERR_SKILL_FAILED",
  SKILL_ERROR: "ERR_EFFECT_FAILED",
  EXECUTION_TIMEOUT: "ERR_SKILL_TIMEOUT",
} as const;

const kinds = Object.keys(FAILURES) as [keyof typeof FAILURES, ...(keyof typeof FAILURES)[]];

/** Fails as the plan says, so that people can see what a failure looks like. */
export const failTrigger = defineSkill({
  name: "__sdsr_fail_trigger__",
  version: "1.0.0",
  text: "Fail in the way that the plan says.",
  input: z.strictObject({ failure: z.enum(kinds).default("STEP_FAILURE") }),
  output: z.null(),
  reversible: true,
  local: true,
  repeat: () => "safe",
  resource: () => "nothing",
  runInControl: ({ failure }) => {
    const text = `it was told to fail: ${failure}`;
    return Promise.reject(new SovereignError(FAILURES[failure], text));
  },
});
