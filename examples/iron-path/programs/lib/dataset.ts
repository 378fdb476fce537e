import { z } from "zod";
import { type JsonRecord, parseJson, sha256Hex } from "./canonical.ts";
import { check } from "./program.ts";

const columnName = z.string().regex(/^[a-z][a-z0-9_]{0,62}$/);

const numberColumn = z.strictObject({
  name: columnName,
  use: z.enum(["feature", "note"]),
  type: z.literal("number"),
  unit: z.string(),
  min: z.number(),
  max: z.number(),
});

const categoryColumn = z.strictObject({
  name: columnName,
  use: z.enum(["label", "note"]),
  type: z.literal("category"),
  values: z.array(z.string().min(1)).min(1).max(100),
});

/** `dataset.json`: whose the data is, under which licence, and what each column may hold. */
const descriptor = z.strictObject({
  name: columnName,
  title: z.string(),
  licence: z.string().min(1),
  licence_url: z.string(),
  creators: z.array(z.string()).min(1),
  citation: z.string(),
  source: z.record(z.string(), z.string()),
  changes: z.string(),
  data: z.strictObject({
    file: z.string(),
    media_type: z.literal("text/csv"),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    rows: z.int().min(1),
  }),
  columns: z.array(z.discriminatedUnion("type", [numberColumn, categoryColumn])).min(2),
});
type Column = z.infer<typeof numberColumn> | z.infer<typeof categoryColumn>;

/** The usable rows. `row` counts data lines of the CSV from 1; `label` is an index of `classes`. */
export interface Dataset {
  readonly digest: string;
  readonly licence: string;
  readonly rowsRead: number;
  readonly features: string[];
  readonly classes: string[];
  readonly rows: readonly { row: number; x: number[]; label: number }[];
  /** Rows left out, and by what; `missing:<column>` or `invalid:<column>`, first reason counts. */
  readonly excluded: JsonRecord;
  /** Gaps in columns that training does not use: kept rows, counted. */
  readonly noted: JsonRecord;
}

/**
 * Read a dataset and hold it against its description: digest, licence, columns, row count, types,
 * ranges. A row without a usable label or feature is left out with a counted reason; a broken
 * file is refused.
 */
export function readDataset(data: Uint8Array, description: Uint8Array): Dataset {
  const about = check(descriptor, parseJson(description, "descriptor"), "descriptor");
  const digest = sha256Hex(data);
  if (digest !== about.data.sha256) {
    throw new Error(`dataset: the description is of ${about.data.sha256}, found ${digest}`);
  }
  const label = labelOf(about.columns);
  const features = about.columns.filter((column) => column.use === "feature");
  if (features.length === 0) throw new Error("descriptor.columns: expected a feature, found none");
  const lines = readCsv(data, about.columns);
  if (lines.length !== about.data.rows) {
    throw new Error(`dataset: expected ${about.data.rows} rows, found ${lines.length}`);
  }
  const excluded: Record<string, number> = {};
  const noted: Record<string, number> = {};
  const rows: { row: number; x: number[]; label: number }[] = [];
  lines.forEach((fields, index) => {
    const problems = about.columns.map((column, at) => problemOf(column, fields[at] ?? ""));
    const first = problems.find((problem, at) => problem && about.columns[at]?.use !== "note");
    if (first) {
      excluded[first] = (excluded[first] ?? 0) + 1;
      return;
    }
    for (const problem of problems) if (problem) noted[problem] = (noted[problem] ?? 0) + 1;
    const at = (column: Column): string => fields[about.columns.indexOf(column)] ?? "";
    const x = features.map((column) => Number(at(column)));
    rows.push({ row: index + 1, x, label: label.values.indexOf(at(label)) });
  });
  return {
    digest,
    licence: about.licence,
    rowsRead: lines.length,
    features: features.map((column) => column.name),
    classes: label.values,
    rows,
    excluded,
    noted,
  };
}

function labelOf(columns: Column[]): z.infer<typeof categoryColumn> {
  const labels = columns.filter((column) => column.use === "label");
  const label = labels[0];
  if (labels.length !== 1 || label?.type !== "category") {
    throw new Error(`descriptor.columns: expected one label, found ${labels.length}`);
  }
  return label;
}

/** Plain CSV: a header that equals the description, LF, no quotes. Fields with quotes are refused. */
function readCsv(data: Uint8Array, columns: Column[]): string[][] {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
  if (!text.endsWith("\n")) throw new Error("dataset: expected a line feed at the end");
  if (/["\r]/.test(text)) throw new Error("dataset: expected CSV without quotes and CR");
  const [header, ...lines] = text.slice(0, -1).split("\n");
  const expected = columns.map((column) => column.name).join(",");
  if (header !== expected) {
    throw new Error(`dataset: expected the columns ${expected}; found ${header ?? "nothing"}`);
  }
  return lines.map((line, index) => {
    const fields = line.split(",");
    if (fields.length !== columns.length) {
      const found = `expected ${columns.length} fields, found ${fields.length}`;
      throw new Error(`dataset: line ${index + 2}: ${found}`);
    }
    return fields;
  });
}

/** Nothing for a good field; else the reason, as it is counted. */
function problemOf(column: Column, field: string): string | null {
  if (field === "") return `missing:${column.name}`;
  if (column.type === "category") {
    return column.values.includes(field) ? null : `invalid:${column.name}`;
  }
  if (!/^-?\d{1,9}(\.\d{1,6})?$/.test(field)) return `invalid:${column.name}`;
  const value = Number(field);
  return value >= column.min && value <= column.max ? null : `invalid:${column.name}`;
}
