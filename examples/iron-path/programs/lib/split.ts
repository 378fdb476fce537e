import { z } from "zod";
import { canonicalBytes, parseCanonical, sha256Hex } from "./canonical.ts";
import type { Dataset } from "./dataset.ts";
import { check } from "./program.ts";

export const prepareParams = z.strictObject({
  /** SPDX ids of the licences that may be trained on. */
  licences: z.array(z.string().min(1)).min(1).max(20),
  /** The share of each class that is held out. */
  test_fraction: z.number().min(0.05).max(0.5),
});
export type PrepareParams = z.infer<typeof prepareParams>;

/** One half of the data, as written to `train.json` and `test.json`. */
const partition = z.strictObject({
  features: z.array(z.string()).min(1),
  classes: z.array(z.string()).min(2),
  /** Data lines of the CSV, from 1, ascending: where each row came from. */
  source_rows: z.array(z.int().min(1)),
  x: z.array(z.array(z.number())),
  y: z.array(z.int().min(0)),
});
export type Partition = z.infer<typeof partition>;

/**
 * Split by class. The order inside a class is by SHA-256 of `seed:row`, so that anyone can derive
 * it again in any language: the first `round(count × fraction)` of each class are the test set.
 */
export function splitDataset(
  dataset: Dataset,
  seed: number,
  fraction: number,
): { train: Partition; test: Partition } {
  const held = new Set<number>();
  for (let label = 0; label < dataset.classes.length; label += 1) {
    const order = dataset.rows
      .filter((row) => row.label === label)
      .map(({ row }) => ({ row, key: sha256Hex(`${seed}:${row}`) }))
      .sort((left, right) => (left.key < right.key ? -1 : 1));
    const testRows = Math.round(order.length * fraction);
    if (testRows < 1 || testRows >= order.length) {
      const name = dataset.classes[label] ?? "";
      throw new Error(`split: class ${name} has ${order.length} rows, too few for ${fraction}`);
    }
    for (const { row } of order.slice(0, testRows)) held.add(row);
  }
  return {
    train: partitionOf(dataset, (row) => !held.has(row)),
    test: partitionOf(dataset, (row) => held.has(row)),
  };
}

export function partitionBytes(rows: Partition): Uint8Array {
  return canonicalBytes(rows);
}

/** Read a partition: shape, equal lengths, and labels that exist. */
export function parsePartition(bytes: Uint8Array, what: string): Partition {
  const rows = check(partition, parseCanonical(bytes, what), what);
  const { features, classes, source_rows: sources, x, y } = rows;
  if (x.length !== y.length || x.length !== sources.length || x.length === 0) {
    throw new Error(`${what}: expected equally many rows, labels and sources, and some`);
  }
  if (x.some((row) => row.length !== features.length)) {
    throw new Error(`${what}: expected ${features.length} numbers in each row`);
  }
  if (y.some((label) => label >= classes.length)) {
    throw new Error(`${what}: expected labels below ${classes.length}`);
  }
  return rows;
}

/** How many rows of each class, by name. */
export function classCounts(rows: Partition): Record<string, number> {
  return Object.fromEntries(
    rows.classes.map((name, index) => [name, rows.y.filter((label) => label === index).length]),
  );
}

function partitionOf(dataset: Dataset, wanted: (row: number) => boolean): Partition {
  const rows = dataset.rows.filter(({ row }) => wanted(row));
  return {
    features: dataset.features,
    classes: dataset.classes,
    source_rows: rows.map(({ row }) => row),
    x: rows.map(({ x }) => x),
    y: rows.map(({ label }) => label),
  };
}
