import { z } from "zod";
import { type Evaluation, share } from "./metrics.ts";

/** When a model is good enough. In the pipeline file, so people decide it and the plan pins it. */
export const acceptance = z.strictObject({
  licences: z.array(z.string().min(1)).min(1).max(20),
  min_accuracy: z.number().min(0).max(1),
  min_class_recall: z.number().min(0).max(1),
  /** How much better than "always the most frequent class", in accuracy. */
  min_gain_over_majority: z.number().min(0).max(1),
});
export type Acceptance = z.infer<typeof acceptance>;

type Pair = { given: string; derived: string };

/** What every agent states, comparable byte for byte: digests given and derived, and counts. */
export type Claims = {
  acceptance: Acceptance;
  artifacts: { metrics: Pair; model: Pair; test: Pair; train: Pair };
  checks: {
    reader_differences: number;
    rows_in_both: number;
    rows_in_neither: number;
    training_repeats: boolean;
  };
  dataset: { digest: string; licence: string; rows_read: number; rows_used: number };
  evaluation: Evaluation;
  seed: number;
};

/** The verdict that claims compel: approve exactly when no reason stands against it. */
export function ruleOf(claims: Claims): { verdict: "approve" | "reject"; reasons: string[] } {
  const { acceptance: wanted, artifacts, checks, dataset, evaluation } = claims;
  const reasons: string[] = [];
  if (!wanted.licences.includes(dataset.licence)) {
    reasons.push(`dataset.licence: ${dataset.licence} is not accepted`);
  }
  for (const [name, pair] of Object.entries(artifacts)) {
    if (pair.given !== pair.derived) reasons.push(`artifacts.${name}: given is not derived`);
  }
  if (!checks.training_repeats) reasons.push("checks.training_repeats: two trainings differ");
  for (const name of ["reader_differences", "rows_in_both", "rows_in_neither"] as const) {
    if (checks[name] !== 0) reasons.push(`checks.${name}: expected 0, found ${checks[name]}`);
  }
  const accuracy = share(evaluation.correct, evaluation.rows);
  const majority = share(evaluation.majority_correct, evaluation.rows);
  if (accuracy < wanted.min_accuracy) {
    reasons.push(`evaluation.correct: accuracy ${accuracy} is below ${wanted.min_accuracy}`);
  }
  if (accuracy - majority < wanted.min_gain_over_majority) {
    reasons.push(`evaluation.majority_correct: gain is below ${wanted.min_gain_over_majority}`);
  }
  evaluation.confusion.forEach((row, index) => {
    const recall = share(
      row[index] ?? 0,
      row.reduce((sum, count) => sum + count, 0),
    );
    if (recall < wanted.min_class_recall) {
      reasons.push(`evaluation.confusion.${index}: recall is below ${wanted.min_class_recall}`);
    }
  });
  return { verdict: reasons.length === 0 ? "approve" : "reject", reasons };
}
