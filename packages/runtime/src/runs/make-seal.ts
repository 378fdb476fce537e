import {
  cutText,
  digestOf,
  type Envelope,
  type JsonObject,
  type Mode,
  type RunProof,
  type Severity,
  SovereignError,
} from "@sovereign/core";
import type { Authority, KeyLog } from "../authority/index.ts";
import type { StoredEntry, StreamHead } from "../ledger/index.ts";
import type { Clock } from "../system/index.ts";
import type { RunStore, StepRow } from "./ports.ts";
import { isTraced, readGuarded } from "./recorded-run.ts";

/** What a run's seal says, for its last entry. */
interface MadeSeal {
  readonly status: RunProof["status"];
  readonly reason: string | null;
  /** Where the run's stream stands before the seal. */
  readonly head: StreamHead;
  /** The entries before the seal. */
  readonly entries: readonly StoredEntry[];
  readonly data: JsonObject;
  readonly envelope: Envelope;
  /** The key log's count that the seal's key was taken at. */
  readonly keyEpoch: number;
}

/** What of a run's plan its seal names. */
interface SealedPlan {
  readonly runId: string;
  readonly tenantId: string;
  readonly mode: Mode;
  readonly plan: JsonObject;
}

/**
 * Sign the proof of a run over what its ledger holds now. Nothing is recorded of it here.
 *
 * @param known the steps that this process had authorised, or took over
 * @param asked how it would end; the enforcement guard may halt it
 * @param note records what the guard finds
 * @throws ERR_RUN_FENCED where the stream grew while it was read
 */
export async function makeSeal(
  {
    plan,
    authority,
    store,
    keyLog,
    clock,
  }: {
    readonly plan: SealedPlan;
    readonly authority: Authority;
    readonly store: RunStore;
    readonly keyLog: KeyLog;
    readonly clock: Clock;
  },
  {
    planDigest,
    known,
    asked,
    note,
  }: {
    readonly planDigest: string;
    readonly known: readonly StepRow[];
    readonly asked: Pick<MadeSeal, "status" | "reason">;
    readonly note: (event: string, severity: Severity, data: JsonObject) => Promise<void>;
  },
): Promise<MadeSeal> {
  const { runId, tenantId, mode } = plan;
  await keyLog.refresh();
  const recorded = await readGuarded(store, plan, known, asked, note);
  const { status, reason, root, artifacts, trace, entries } = recorded;
  const head = await store.streamHead(tenantId, runId);
  if (entries.at(-1)?.hash !== head.hash) {
    const text = `Something was recorded in ${runId} while it was read for its seal. Try again.`;
    throw new SovereignError("ERR_RUN_FENCED", text, { event: "run.sealed" });
  }
  const proof: RunProof = {
    tenant_id: tenantId,
    run_id: runId,
    mode,
    status,
    reason: reason === null ? null : cutText(reason, 2000),
    count: head.count,
    head: head.hash,
    root,
    plan_digest: planDigest,
    key_log: { ...keyLog.head() },
    artifacts: [...artifacts],
    ...(isTraced(plan.plan) ? { trace: trace.seal() } : {}),
    sealed_at: clock.now().toISOString(),
  };
  const subjects = [{ name: runId, sha256: head.hash }];
  const envelope = await authority.issue("run-proof", subjects, proof, "seal", null);
  const data = {
    count: head.count,
    head: head.hash,
    status,
    key_log: proof.key_log,
    key_epoch: proof.key_log.count,
    envelopes: { run_proof: digestOf(envelope) },
  };
  return { status, reason, head, entries, data, envelope, keyEpoch: data.key_epoch };
}
