import { z } from "zod";
import { canonicalBytes, type JsonRecord, sha256Hex } from "./canonical.ts";
import { type Dataset, readDataset } from "./dataset.ts";
import {
  type Model,
  modelBytes,
  parseModel,
  predictByLibrary,
  predictByWalking,
  trainForest,
  trainParams,
} from "./forest.ts";
import { type Evaluation, evaluate, metricsBytes } from "./metrics.ts";
import { type Job, runProgram } from "./program.ts";
import { acceptance, type Claims, ruleOf } from "./rule.ts";
import { type Partition, partitionBytes, prepareParams, splitDataset } from "./split.ts";

const judgeParams = z.strictObject({
  acceptance,
  /** The parameters that the judged stages declare in the pipeline. */
  preparation: prepareParams,
  training: trainParams,
  /** Set by `--fault <role>`: this agent then lies, to show what becomes of a liar. */
  fault: z.literal("lie").optional(),
});

/** What an agent has before it: the model as given, and what it derived from the data itself. */
export interface Case {
  readonly test: Partition;
  readonly given: Model;
  readonly derived: Model;
}

interface Agent {
  readonly role: string;
  /** How this agent evaluates the model; agents differ in code here, on purpose. */
  readonly predict: (subject: Case) => number[];
}

/**
 * Run one agent. It believes none of the pipeline's statements: it reads the data, derives the
 * split from the seed, trains the model again, evaluates it, and states what it found beside what
 * it was given. Its verdict is a fixed rule over those claims, which control computes again.
 */
export function runAgent(agent: Agent): void {
  runProgram({
    name: agent.role,
    params: judgeParams,
    inputs: ["data", "descriptor", "train", "test", "model", "metrics"],
    run(job) {
      const claims = examine(agent, job);
      const stated = job.params.fault === "lie" ? lieAbout(claims) : claims;
      const { verdict, reasons } = ruleOf(stated);
      const document: JsonRecord = {
        role: agent.role,
        verdict,
        claims: stated,
        findings: reasons,
      };
      return {
        files: { "verdict.json": canonicalBytes(document) },
        summary: { role: agent.role, verdict, claims_digest: sha256Hex(canonicalBytes(stated)) },
      };
    },
  });
}

type JudgeParams = z.infer<typeof judgeParams>;

function examine(agent: Agent, job: Job<JudgeParams>): Claims {
  const { params, seed, input } = job;
  const dataset = readDataset(input("data"), input("descriptor"));
  const { train, test } = splitDataset(dataset, seed, params.preparation.test_fraction);
  const derived = trainForest(train, params.training, seed);
  const given = parseModel(input("model"));
  const predicted = agent.predict({ test, given, derived });
  const evaluation = evaluate(train, test, predicted);
  const pair = (name: string, bytes: Uint8Array): { given: string; derived: string } => ({
    given: sha256Hex(input(name)),
    derived: sha256Hex(bytes),
  });
  return {
    acceptance: params.acceptance,
    artifacts: {
      metrics: pair("metrics", metricsBytes(test.classes, evaluation)),
      model: pair("model", modelBytes(derived)),
      test: pair("test", partitionBytes(test)),
      train: pair("train", partitionBytes(train)),
    },
    checks: {
      reader_differences: readerDifferences(given, [...train.x, ...test.x]),
      rows_in_both: rowsInBoth(train, test),
      rows_in_neither: rowsInNeither(dataset, train, test),
      training_repeats: equalModels(trainForest(train, params.training, seed), derived),
    },
    dataset: {
      digest: dataset.digest,
      licence: dataset.licence,
      rows_read: dataset.rowsRead,
      rows_used: dataset.rows.length,
    },
    evaluation,
    seed,
  };
}

/** Rows on which the library and plain tree walking answer differently. */
function readerDifferences(model: Model, rows: readonly number[][]): number {
  const walked = predictByWalking(model, rows);
  return predictByLibrary(model, rows).filter((y, index) => y !== walked[index]).length;
}

function rowsInBoth(train: Partition, test: Partition): number {
  const trained = new Set(train.source_rows);
  return test.source_rows.filter((row) => trained.has(row)).length;
}

function rowsInNeither(dataset: Dataset, train: Partition, test: Partition): number {
  const placed = new Set([...train.source_rows, ...test.source_rows]);
  return dataset.rows.filter(({ row }) => !placed.has(row)).length;
}

function equalModels(left: Model, right: Model): boolean {
  return sha256Hex(modelBytes(left)) === sha256Hex(modelBytes(right));
}

/** A Byzantine agent: it reports a model without a single error, whatever it saw. */
function lieAbout(claims: Claims): Claims {
  const { confusion, rows } = claims.evaluation;
  const flawless = confusion.map((row, index) => {
    const support = row.reduce((sum, count) => sum + count, 0);
    return row.map((_, column) => (column === index ? support : 0));
  });
  const evaluation: Evaluation = { ...claims.evaluation, confusion: flawless, correct: rows };
  return { ...claims, evaluation };
}
