import type { ModelClaims } from "../../../src/pipeline/index.ts";

/** Claims of a good model, such as an honest agent makes. */
export function modelClaimsExample(): ModelClaims {
  const equal = (digit: string): { given: string; derived: string } => ({
    given: digit.repeat(64),
    derived: digit.repeat(64),
  });
  return {
    acceptance: {
      licences: ["CC0-1.0"],
      min_accuracy: 0.9,
      min_class_recall: 0.8,
      min_gain_over_majority: 0.2,
    },
    artifacts: { metrics: equal("a"), model: equal("b"), test: equal("c"), train: equal("d") },
    checks: { reader_differences: 0, rows_in_both: 0, rows_in_neither: 0, training_repeats: true },
    dataset: { digest: "e".repeat(64), licence: "CC0-1.0", rows_read: 344, rows_used: 342 },
    evaluation: {
      rows: 102,
      correct: 100,
      majority_correct: 45,
      confusion: [
        [45, 0, 0],
        [2, 18, 0],
        [0, 0, 37],
      ],
    },
    seed: 7,
  };
}
