import { canonicalBytes } from "./canonical.ts";
import type { Partition } from "./split.ts";

/** What the test set says, in counts: exact, so that two honest evaluations are equal bytes. */
export type Evaluation = {
  rows: number;
  correct: number;
  /** Right answers of the rule "always the class that is most frequent in training". */
  majority_correct: number;
  /** Row: the true class; column: the predicted one; in the order of `classes`. */
  confusion: number[][];
};

/** Hold predictions against a test set. */
export function evaluate(train: Partition, test: Partition, predicted: number[]): Evaluation {
  const confusion = test.classes.map(() => test.classes.map(() => 0));
  test.y.forEach((label, index) => {
    const row = confusion[label];
    const guess = predicted[index];
    if (row === undefined || guess === undefined || row[guess] === undefined) {
      throw new Error(`evaluation: row ${index} has no usable prediction`);
    }
    row[guess] += 1;
  });
  const frequency = train.classes.map((_, index) => train.y.filter((y) => y === index).length);
  const majority = frequency.indexOf(Math.max(...frequency));
  return {
    rows: test.y.length,
    correct: confusion.reduce((sum, row, index) => sum + (row[index] ?? 0), 0),
    majority_correct: test.y.filter((label) => label === majority).length,
    confusion,
  };
}

/** `metrics.json`: the counts, and the shares that people read. */
export function metricsBytes(classes: readonly string[], counts: Evaluation): Uint8Array {
  const perClass: Record<string, { precision: number; recall: number; support: number }> = {};
  classes.forEach((name, index) => {
    const row = counts.confusion[index] ?? [];
    const hits = row[index] ?? 0;
    const support = sum(row);
    const named = sum(counts.confusion.map((other) => other[index] ?? 0));
    perClass[name] = { precision: share(hits, named), recall: share(hits, support), support };
  });
  return canonicalBytes({
    classes: [...classes],
    ...counts,
    accuracy: share(counts.correct, counts.rows),
    majority_accuracy: share(counts.majority_correct, counts.rows),
    per_class: perClass,
  });
}

/** A share in [0, 1]; 0 where there is nothing to divide by. */
export function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}
