import type { GateInputs } from "./inputs.ts";

/** What a gate found: null when it holds; else why not. */
export type Finding =
  | { readonly applies: false; readonly why: string }
  | { readonly applies: true; readonly problems: readonly string[]; readonly holds: string };

/** One gate: a pure judgement. */
export interface Gate {
  readonly id: string;
  readonly title: string;
  /** What it asks, in words that a person can check. */
  readonly asks: string;
  /** The documents that it reads, besides the ledger. */
  readonly reads: readonly (keyof GateInputs)[];
  judge(inputs: GateInputs): Finding;
}

export function notApplicable(why: string): Finding {
  return { applies: false, why };
}

/** @param checks each a condition that must hold, with what is wrong where it does not */
export function judged(holds: string, checks: readonly (readonly [boolean, string])[]): Finding {
  const problems = checks.filter(([ok]) => !ok).map(([, problem]) => problem);
  return { applies: true, problems, holds };
}
