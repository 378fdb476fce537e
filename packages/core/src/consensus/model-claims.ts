import { z } from "zod";
import { fields, type JsonObject } from "../formats/index.ts";

const share = z.number().min(0).max(1);
const pair = z.strictObject({ given: fields.digest, derived: fields.digest });

/** What every agent states about a model: digests as given and as derived again, and counts. */
export const modelClaims = z
  .strictObject({
    acceptance: z.strictObject({
      licences: z.array(z.string().min(1)).min(1).max(20),
      min_accuracy: share,
      min_class_recall: share,
      min_gain_over_majority: share,
    }),
    artifacts: z.strictObject({ metrics: pair, model: pair, test: pair, train: pair }),
    checks: z.strictObject({
      reader_differences: fields.count,
      rows_in_both: fields.count,
      rows_in_neither: fields.count,
      training_repeats: z.boolean(),
    }),
    dataset: z.strictObject({
      digest: fields.digest,
      licence: z.string().min(1).max(100),
      rows_read: fields.count,
      rows_used: fields.count,
    }),
    evaluation: z.strictObject({
      rows: z.int().min(1),
      correct: fields.count,
      majority_correct: fields.count,
      confusion: z.array(z.array(fields.count).max(100)).min(2).max(100),
    }),
    seed: fields.count,
  })
  .refine(({ evaluation: { confusion } }) => {
    return confusion.every((row) => row.length === confusion.length);
  }, "expected a square confusion matrix")
  .refine(({ evaluation: { confusion, rows, correct, majority_correct: majority } }) => {
    const hits = confusion.map((row, index) => row[index] ?? 0);
    return sum(confusion.flat()) === rows && sum(hits) === correct && majority <= rows;
  }, "expected counts that agree with the confusion matrix");
export type ModelClaims = z.infer<typeof modelClaims>;

/**
 * The verdict that claims about a model compel. The agents' programs state this rule for
 * themselves; control computes it here, so that no agent's word decides.
 *
 * @param claims untrusted
 * @returns null when the claims have not the declared form
 */
export function judgeModelClaims(claims: JsonObject): "approve" | "reject" | null {
  const parsed = modelClaims.safeParse(claims);
  if (!parsed.success) return null;
  return isAcceptable(parsed.data) ? "approve" : "reject";
}

function isAcceptable({
  acceptance,
  artifacts,
  checks,
  dataset,
  evaluation,
}: ModelClaims): boolean {
  const { rows, correct, majority_correct: majority, confusion } = evaluation;
  const accuracy = correct / rows;
  return (
    acceptance.licences.includes(dataset.licence) &&
    Object.values(artifacts).every(({ given, derived }) => given === derived) &&
    checks.training_repeats &&
    checks.reader_differences + checks.rows_in_both + checks.rows_in_neither === 0 &&
    accuracy >= acceptance.min_accuracy &&
    accuracy - majority / rows >= acceptance.min_gain_over_majority &&
    confusion.every((row, index) => recallOf(row, index) >= acceptance.min_class_recall)
  );
}

/** A class without a test row has recall 0: it was not shown to work. */
function recallOf(row: readonly number[], index: number): number {
  const support = sum(row);
  return support === 0 ? 0 : (row[index] ?? 0) / support;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}
