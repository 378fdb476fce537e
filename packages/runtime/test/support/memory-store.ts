import {
  canonicalize,
  Frontier,
  INSTALLATION_LOG,
  leafHash,
  nodeHash,
  proveInclusionSet,
  type Signer,
  signCheckpoint,
  splitOf,
  type TraceChange,
  type TraceHead,
  type TraceStep,
} from "@sovereign/core";
import {
  type CommitItem,
  type CommitRefusal,
  type CommitVerdict,
  EMPTY_STREAM,
  type StoredCheckpoint,
  type StoredEntry,
  type StreamHead,
} from "../../src/ledger/index.ts";
import type { RunRow, RunStore, StepRow, StoredTrace } from "../../src/runs/index.ts";

type Row = StoredEntry & { stream: string };

/** The store in memory: the same judgements as the real one, for tests that need no database. */
export class MemoryStore implements RunStore {
  readonly logs = new Map<string, Row[]>();
  readonly envelopes = new Map<string, Uint8Array>();
  readonly steps = new Map<string, StepRow>();
  /** The rows of a goal's steps, by run. */
  readonly traces = new Map<string, { head: TraceHead; steps: TraceStep[] }>();
  readonly #heads = new Map<string, StreamHead>();
  readonly #nonces = new Set<string>();
  readonly #checkpoints = new Map<string, StoredCheckpoint[]>();
  /** True where the key log is not in this store: then no key epoch is judged. */
  readonly #keysElsewhere: boolean;

  constructor({ keysElsewhere = false }: { readonly keysElsewhere?: boolean } = {}) {
    this.#keysElsewhere = keysElsewhere;
  }

  /** What a test puts between the writers and this store; null hands on to the store. */
  between: (item: CommitItem) => Promise<CommitVerdict> | null = () => null;

  commit(item: CommitItem): Promise<CommitVerdict> {
    return this.between(item) ?? Promise.resolve(this.#commit(item));
  }

  #commit(item: CommitItem): CommitVerdict {
    const reason = this.#refusal(item);
    if (reason !== null) return { status: "refused", reason, detail: reason };
    for (const { nonce } of item.nonces ?? []) this.#nonces.add(nonce);
    const log = this.logs.get(item.log) ?? [];
    this.logs.set(item.log, log);
    const firstIndex = log.length;
    for (const entry of item.entries)
      log.push({ ...entry, index: log.length, stream: item.stream });
    const { count, hash } = item.expectedHead;
    const head = { count: count + item.entries.length, hash: item.entries.at(-1)?.hash ?? hash };
    this.#heads.set(`${item.log}/${item.stream}`, head);
    for (const { digest, bytes } of item.envelopes ?? []) this.envelopes.set(digest, bytes);
    if (item.step !== undefined) this.steps.set(item.step.stepId, item.step);
    if (item.trace !== undefined) this.#keepTrace(item.stream, item.trace);
    return { status: "committed", firstIndex };
  }

  #keepTrace(runId: string, { head, steps }: TraceChange): void {
    const kept = this.traces.get(runId)?.steps ?? [];
    for (const step of steps) kept[step.index] = step;
    this.traces.set(runId, { head, steps: kept });
  }

  #refusal(item: CommitItem): CommitRefusal | null {
    const head = this.#heads.get(`${item.log}/${item.stream}`) ?? EMPTY_STREAM;
    const { count, hash } = item.expectedHead;
    if (head.count !== count || head.hash !== hash) return "stream_conflict";
    const keys = this.#heads.get(`${INSTALLATION_LOG}/keys`)?.count ?? 0;
    const judged = item.keyEpoch !== undefined && !this.#keysElsewhere;
    if (judged && item.keyEpoch !== keys) return "key_epoch";
    const used = (item.nonces ?? []).some(({ nonce }) => this.#nonces.has(nonce));
    return used ? "nonce_used" : null;
  }

  async *readStream(log: string, stream: string, from = 0): AsyncGenerator<StoredEntry> {
    await Promise.resolve();
    const rows = (this.logs.get(log) ?? []).filter((row) => row.stream === stream).slice(from);
    for (const { index, hash, bytes } of rows) yield { index, hash, bytes };
  }

  readEnvelopes(_log: string, digests: readonly string[]): Promise<Map<string, Uint8Array>> {
    const found = digests.flatMap((digest) => {
      const bytes = this.envelopes.get(digest);
      return bytes === undefined ? [] : [[digest, bytes] as const];
    });
    return Promise.resolve(new Map(found));
  }

  checkpointCovering(log: string, size: number): Promise<StoredCheckpoint | null> {
    const found = (this.#checkpoints.get(log) ?? []).find((one) => one.size >= size);
    return Promise.resolve(found ?? null);
  }

  proveInclusionSet(
    log: string,
    size: number,
    indices: readonly number[],
  ): Promise<readonly Uint8Array[]> {
    const leaves = (this.logs.get(log) ?? []).map((row) => leafHash(row.bytes));
    return Promise.resolve(
      proveInclusionSet(size, indices, (from, to) => rootOf(leaves, from, to)),
    );
  }

  sealCheckpoint(log: string, origin: string, signer: Signer): void {
    const frontier = new Frontier();
    for (const row of this.logs.get(log) ?? []) frontier.append(leafHash(row.bytes));
    const { size } = frontier;
    const note = signCheckpoint({ origin, size, root: frontier.root() }, signer);
    this.#checkpoints.set(log, [...(this.#checkpoints.get(log) ?? []), { size, note }]);
  }

  streamHead(log: string, stream: string): Promise<StreamHead> {
    return Promise.resolve(this.#heads.get(`${log}/${stream}`) ?? EMPTY_STREAM);
  }

  findRun(): Promise<RunRow | null> {
    return Promise.resolve(null);
  }
  listRuns(): Promise<RunRow[]> {
    return Promise.resolve([]);
  }
  listSteps(): Promise<StepRow[]> {
    return Promise.resolve([...this.steps.values()]);
  }
  readTrace(_tenant: string, runId: string): Promise<StoredTrace> {
    const trace = this.traces.get(runId);
    if (trace === undefined) return Promise.resolve({ heads: [], steps: [] });
    const steps = trace.steps.map((step) => ({
      ...step,
      input: canonicalize(step.input),
      output: canonicalize(step.output),
      artifacts: canonicalize(step.artifacts),
    }));
    return Promise.resolve({ heads: [trace.head], steps });
  }
  claimRun(): Promise<number> {
    return Promise.resolve(2);
  }
}

export function rootOf(leaves: readonly Uint8Array[], from: number, to: number): Uint8Array {
  if (to - from === 1) return leaves[from] as Uint8Array;
  const middle = from + splitOf(to - from);
  return nodeHash(rootOf(leaves, from, middle), rootOf(leaves, middle, to));
}
