import { INSTALLATION_LOG, type JsonObject, sha256Hex } from "@sovereign/core";
import {
  type CommitItem,
  createEntry,
  EMPTY_STREAM,
  type StreamHead,
} from "../../src/ledger/index.ts";
import type { Store } from "../../src/store/index.ts";
import { fieldsOf, newStream } from "./entries.ts";
import { testSigner } from "./keys.ts";
import { runItem } from "./tenant-world.ts";

/** A run that was sealed, as its rows and entries say: two entries, of which the first has an envelope. */
export interface SealedRun {
  readonly runId: string;
  readonly head: StreamHead;
  readonly firstIndex: number;
  readonly envelope: { readonly digest: string; readonly bytes: Buffer };
}

export async function commitSealedRun(
  store: Store,
  log: string,
  { last = "run.sealed", status = "completed" } = {},
): Promise<SealedRun> {
  const runId = newStream();
  const bytes = Buffer.from(JSON.stringify({ of: runId }));
  const envelope = { digest: sha256Hex(bytes), bytes };
  const fields = { ...fieldsOf(runId, runId), tenantId: log };
  const first = createEntry(EMPTY_STREAM, {
    ...fields,
    data: { envelopes: { of: envelope.digest } },
  });
  const data = {
    count: 1,
    head: first.hash,
    status: "completed",
    key_log: { count: 1, head: first.hash },
    key_epoch: 1,
    envelopes: { run_proof: envelope.digest },
  };
  const seal = createEntry(first.head, { ...fields, eventType: last, data });
  const run = { ...runItem(log, runId).run, status, sealed: first.head } as CommitItem["run"];
  const verdict = await store.commit({
    log,
    stream: runId,
    expectedHead: EMPTY_STREAM,
    entries: [first, seal].map(({ bytes: one, hash }) => ({ bytes: one, hash })),
    envelopes: [envelope],
    ...(run === undefined ? {} : { run }),
  });
  if (verdict.status !== "committed") throw new Error(verdict.detail);
  return { runId, head: seal.head, firstIndex: verdict.firstIndex, envelope };
}

/** The digest that a record of these runs names, as the specification says. */
export function digestOfStreams(runs: readonly SealedRun[]): string {
  const lines = runs.map(({ runId, head }) => `${runId} ${head.count} ${head.hash}\n`).sort();
  return sha256Hex(Buffer.from(lines.join("")));
}

/** Writes that an archive was made, and signs both logs unless told not to. @returns its index */
export async function recordOf(
  store: Store,
  log: string,
  runs: readonly SealedRun[],
  { data = {}, signed = true }: { data?: JsonObject; signed?: boolean } = {},
): Promise<number> {
  const head = await store.streamHead(INSTALLATION_LOG, "ledger");
  const { bytes, hash } = createEntry(head, {
    ...fieldsOf("ledger", ""),
    tenantId: INSTALLATION_LOG,
    runId: null,
    eventType: "ledger.archived",
    data: {
      tenant_id: log,
      archive: ARCHIVE,
      streams: digestOfStreams(runs),
      last_index: Math.max(...runs.map((run) => run.firstIndex + run.head.count - 1)),
      ...data,
    },
  });
  const item = { log: INSTALLATION_LOG, stream: "ledger", expectedHead: head };
  const verdict = await store.commit({ ...item, entries: [{ bytes, hash }] });
  if (verdict.status !== "committed") throw new Error(verdict.detail);
  for (const one of signed ? [log, INSTALLATION_LOG] : []) {
    await store.sealCheckpoint(one, `origin/${one}`, testSigner);
  }
  return verdict.firstIndex;
}

export const ARCHIVE = "a".repeat(64);
