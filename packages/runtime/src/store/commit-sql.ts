import { canonicalize, type IncidentChange, type TraceChange } from "@sovereign/core";
import type { CommitItem, CommitRefusal, CommitVerdict } from "../ledger/index.ts";
import { bigintArray, bytesArray, intArray, textArray } from "./binary-arrays.ts";
import { type Claims, digestOfCall } from "./claims.ts";
import type { Call } from "./call.ts";

export const COMMIT: Call = {
  name: "commit_batch",
  text: `select sizes, refusals from sovereign.commit_batch(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[],
    $6::int[], $7::int[], $8::bigint[], $9::bigint[], $10::text[], $11::bytea[],
    $12::int[], $13::text[], $14::bigint[], $15::int[], $16::bigint[],
    $17::int[], $18::text[], $19::text[], $20::int[], $21::text[], $22::bytea[], $23::text,
    $24::text, $25::text[], $26::bytea[])`,
};

/** The parameters of one call of `commit_batch`, without the claims: columns, not rows. Items count from 1. */
export function commitParameters(batch: string, items: readonly CommitItem[]): unknown[] {
  const logs = logsOf(items);
  return [
    textArray(logs),
    textArray(items.map((item) => item.log)),
    textArray(items.map((item) => item.stream)),
    bigintArray(items.map((item) => item.expectedHead.count)),
    bytesArray(items.map((item) => Buffer.from(item.expectedHead.hash, "hex"))),
    ...entryColumns(items, logs),
    ...fenceColumns(items),
    ...keyColumns(items),
    ...nonceColumns(items),
    ...envelopeColumns(items),
    rowsWritten(items),
    batch,
  ];
}

/** The logs of a batch, each once, in the order in which the call names them. */
export function logsOf(items: readonly CommitItem[]): string[] {
  return [...new Set(items.map((item) => item.log))];
}

function entryColumns(items: readonly CommitItem[], logs: readonly string[]): Buffer[] {
  const counts = logs.map(() => 0);
  const numbers = new Map(logs.map((log, at) => [log, at]));
  const item: number[] = [];
  const log: number[] = [];
  const place: number[] = [];
  const sequence: number[] = [];
  const stream: string[] = [];
  const bytes: Uint8Array[] = [];
  for (const [at, one] of items.entries()) {
    const number = numbers.get(one.log) ?? 0;
    let next = counts[number] ?? 0;
    for (const [within, entry] of one.entries.entries()) {
      item.push(at + 1);
      log.push(number + 1);
      place.push(next++);
      sequence.push(one.expectedHead.count + within);
      stream.push(one.stream);
      bytes.push(entry.bytes);
    }
    counts[number] = next;
  }
  return [
    intArray(item),
    intArray(log),
    bigintArray(place),
    bigintArray(sequence),
    textArray(stream),
    bytesArray(bytes),
  ];
}

function fenceColumns(items: readonly CommitItem[]): (Buffer | null)[] {
  const rows = items.flatMap(({ fence }, at) =>
    fence === undefined ? [] : [{ at: at + 1, ...fence }],
  );
  if (rows.length === 0) return [null, null, null];
  return [
    intArray(rows.map((row) => row.at)),
    textArray(rows.map((row) => row.runId)),
    bigintArray(rows.map((row) => row.epoch)),
  ];
}

function keyColumns(items: readonly CommitItem[]): (Buffer | null)[] {
  const rows = items.flatMap(({ keyEpoch }, at) =>
    keyEpoch === undefined ? [] : [{ at: at + 1, keyEpoch }],
  );
  if (rows.length === 0) return [null, null];
  return [intArray(rows.map((row) => row.at)), bigintArray(rows.map((row) => row.keyEpoch))];
}

function nonceColumns(items: readonly CommitItem[]): (Buffer | null)[] {
  const rows = items.flatMap((item, at) =>
    (item.nonces ?? []).map((nonce) => ({ at: at + 1, ...nonce })),
  );
  if (rows.length === 0) return [null, null, null];
  return [
    intArray(rows.map((row) => row.at)),
    textArray(rows.map((row) => row.nonce)),
    textArray(rows.map((row) => row.expiresAt)),
  ];
}

function envelopeColumns(items: readonly CommitItem[]): (Buffer | null)[] {
  const rows = items.flatMap((item, at) =>
    (item.envelopes ?? []).map((envelope) => ({ at: at + 1, ...envelope })),
  );
  if (rows.length === 0) return [null, null, null];
  return [
    intArray(rows.map((row) => row.at)),
    textArray(rows.map((row) => row.digest)),
    bytesArray(rows.map((row) => row.bytes)),
  ];
}

function rowsWritten(items: readonly CommitItem[]): string | null {
  const runs = items.flatMap(({ run }, at) =>
    run === undefined
      ? []
      : {
          item: at + 1,
          run_id: run.runId,
          name: run.name,
          mode: run.mode,
          status: run.status,
          plan: Buffer.from(run.plan).toString("base64"),
          plan_digest: run.planDigest,
          reason: run.reason,
          sealed_count: run.sealed?.count ?? null,
          sealed_hash: run.sealed?.hash ?? null,
        },
  );
  const steps = items.flatMap(({ step }, at) =>
    step === undefined
      ? []
      : {
          item: at + 1,
          run_id: step.runId,
          step_id: step.stepId,
          status: step.status,
          attempt: step.attempt,
          action_digest: step.actionDigest,
          output: step.output === null ? null : Buffer.from(step.output).toString("base64"),
        },
  );
  const traced = items.flatMap(({ trace }, at) =>
    trace === undefined ? [] : { item: at + 1, ...trace },
  );
  const further = furtherRows(items);
  if (runs.length + steps.length + traced.length + Object.keys(further).length === 0) return null;
  return JSON.stringify({
    runs,
    steps,
    ...(traced.length === 0 ? {} : traceRows(traced)),
    ...further,
  });
}

/** Rows that few items have, by the name that the commit knows them by; no list is empty. */
function furtherRows(items: readonly CommitItem[]): Record<string, object[]> {
  const lists = {
    incidents: (item: CommitItem) => incidentRow(item.incident),
    holds: (item: CommitItem) => item.hold,
    settled: (item: CommitItem) => item.settled,
    budgets: (item: CommitItem) => item.budget,
    queued: ({ queue }: CommitItem) =>
      queue === undefined || queue.place === null
        ? undefined
        : { run_id: queue.runId, priority: queue.place.priority, ...queue.place.carriers },
    unqueued: ({ queue }: CommitItem) =>
      queue?.place === null ? { run_id: queue.runId } : undefined,
    gates: (item: CommitItem) => item.gate,
    probes: (item: CommitItem) => item.probe,
  };
  const rows: Record<string, object[]> = {};
  for (const [name, rowOf] of Object.entries(lists)) {
    const found = items.flatMap((one, at) => {
      const row = rowOf(one);
      return row === undefined ? [] : { item: at + 1, ...row };
    });
    if (found.length > 0) rows[name] = found;
  }
  return rows;
}

/** `by` is a word of SQL. */
function incidentRow(incident: IncidentChange | undefined): object | undefined {
  if (incident === undefined) return undefined;
  const { by, ...rest } = incident;
  return { ...rest, said_by: by };
}

/** Values go as the canonical JSON that digests are over. */
function traceRows(traced: readonly (TraceChange & { readonly item: number })[]): object {
  return {
    traces: traced.map(({ item, head }) => ({ item, ...head })),
    trace_steps: traced.flatMap(({ item, steps }) =>
      steps.map(({ input, output, artifacts, ...step }) => ({
        item,
        ...step,
        input: canonicalize(input),
        output: canonicalize(output),
        artifacts: canonicalize(artifacts),
      })),
    ),
  };
}

/** What `commit_batch` answers: the logs' sizes before, and a number for each item that is refused. */
export interface CommitAnswer {
  readonly sizes: readonly string[];
  readonly refusals: readonly number[] | null;
}

/** Each item's verdict; the entries of those that were committed follow one another in their log. */
export function verdictsOf(answer: CommitAnswer, items: readonly CommitItem[]): CommitVerdict[] {
  const sizes = new Map(logsOf(items).map((log, at) => [log, Number(answer.sizes[at])]));
  return items.map((item, at): CommitVerdict => {
    const number = answer.refusals?.[at] ?? 0;
    if (number === BREAKER) return refused("breaker", DETAILS.breaker);
    if (number >= LACKING) return refused("budget", lackOf(number));
    const refusal = REFUSALS[number];
    if (refusal !== undefined) return refused(refusal, DETAILS[refusal]);
    const firstIndex = sizes.get(item.log) ?? Number.NaN;
    sizes.set(item.log, firstIndex + item.entries.length);
    return { status: "committed", firstIndex };
  });
}

/** The claims of a batch, as the last parameters of the call. */
export function claimParameters(
  claims: Claims,
  names: readonly string[],
  values: unknown[],
): Buffer[] {
  return [textArray(names), bytesArray(claims.forBatch(names, digestOfCall(values)))];
}

/** The verdict on an item that can not be committed whatever the ledger holds. */
export function invalid(found: string): CommitVerdict {
  return refused("invalid", `${DETAILS.invalid}: ${found}`);
}

function refused(reason: CommitRefusal, detail: string): CommitVerdict {
  return { status: "refused", reason, detail };
}

const REFUSALS: readonly (CommitRefusal | undefined)[] = [
  undefined,
  "stream_conflict",
  "fenced",
  "key_epoch",
  "nonce_used",
  "invalid",
];

const BREAKER = 200;
/** From here on: 10 for each scope, and 1 for each unit, of which a budget has too little. */
const LACKING = 100;
const SCOPES = ["the tenant for this month", "the agent for this day", "the run"];
const UNITS = ["cents", "tokens", "steps", "seconds"];

function lackOf(number: number): string {
  const [scope, unit] = [Math.floor((number - LACKING) / 10), number % 10];
  return `the budget of ${SCOPES[scope] ?? "?"} has too few ${UNITS[unit] ?? "?"} left`;
}

const DETAILS: Readonly<Record<CommitRefusal, string>> = {
  stream_conflict: "the stream does not stand where the writer thought",
  fenced: "another process has taken the run over",
  nonce_used: "a signed permission was used before",
  key_epoch: "the key log has grown since the signatures were judged",
  invalid: "the item is not well formed",
  breaker:
    "its host failed again and again: it is left alone for 60 seconds, or three calls are trying it",
  budget: "a budget has too little left",
};
