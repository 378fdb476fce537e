import {
  countHolders,
  digestOf,
  type EntryData,
  type Envelope,
  formats,
  isSameHolder,
  type JsonObject,
  type JsonValue,
  parseEnvelope,
  SovereignError,
} from "@sovereign/core";
import { Authority } from "../../authority/index.ts";
import { systemEntropy, timestampOf } from "../../system/index.ts";
import { StreamWriter, readRun } from "../../ledger/index.ts";
import { RunRecorder } from "../../runs/index.ts";
import { resumeCommand } from "./resume-command.ts";
import { runNotFound } from "./run-folder.ts";
import type { Store } from "../../store/index.ts";
import type { Installation } from "../../installation/index.ts";

const APPROVED = "approval.granted";

/** The approvals of one action that stand in a run's stream. Their signatures are not judged here. */
export async function readApprovals(
  store: Store,
  tenantId: string,
  runId: string,
  actionDigest: string,
): Promise<Envelope[]> {
  const digests: string[] = [];
  for await (const { entry } of readRun(store, tenantId, runId)) {
    const { action_digest: action, envelopes } = entry.data;
    if (entry.event_type !== APPROVED || action !== actionDigest) continue;
    digests.push((envelopes as EntryData<"attestation.issued">["envelopes"])["approval"] ?? "");
  }
  const found = await store.readEnvelopes(tenantId, digests);
  return [...found.values()].map((bytes) => parseEnvelope(bytes));
}

/** What a run waits for. */
export interface PendingAction {
  readonly stepId: string;
  readonly actionDigest: string;
  readonly contextDigest: string;
  readonly roles: readonly string[];
  readonly required: number;
  readonly reason: string;
}

/** Consent that is recorded, and what is lacking still. */
export interface GivenApproval extends PendingAction {
  /** Who has consented so far. Whether it is in time is judged when the run goes on. */
  readonly given: readonly string[];
  /** The command that goes on with the run, or has the next person consent. */
  readonly next: string;
}

/**
 * Consent, as an approver whose key is here, to the action that a run waits for.
 *
 * @throws ERR_RUN_NOT_FOUND, ERR_NOTHING_PENDING, ERR_APPROVER_REFUSED, ERR_KEY_NOT_FOUND
 */
export async function approveRun(
  installation: Installation,
  tenantId: string,
  runId: string,
  approver: string,
): Promise<GivenApproval> {
  const { store, keyLog, keystore, clock } = installation;
  const row = await store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  const pending = await findPending(store, tenantId, runId);
  if (row.status !== "pending" || pending === null) {
    throw new SovereignError("ERR_NOTHING_PENDING", `Run ${runId} waits for no approval.`);
  }
  if (!pending.roles.includes(approver)) {
    const text = `${approver} may not approve this; expected one of ${pending.roles.join(", ")}.`;
    throw new SovereignError("ERR_APPROVER_REFUSED", text);
  }
  const authority = new Authority({
    keystore,
    keys: () => keyLog.current(),
    decide: () => {
      throw new Error("an approval needs no policy decision");
    },
    clock,
    entropy: systemEntropy,
  });
  const { actionDigest, contextDigest } = pending;
  const envelope = await authority.issueApproval(approver, actionDigest, contextDigest);
  const epoch = await store.claimRun(tenantId, runId);
  const head = await store.streamHead(tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, head);
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch });
  const data = {
    approver,
    action_digest: actionDigest,
    key_epoch: keyLog.head().count,
    envelopes: { approval: digestOf(envelope) },
    given_at: timestampOf(clock),
  };
  const record = { event: APPROVED, severity: "INFO", data, nonces: [], keyEpoch: null } as const;
  const verdict = await recorder.write({ ...record, envelopes: [envelope] });
  if (verdict.status === "committed") {
    const given = await approversOf(store, tenantId, runId, actionDigest);
    const others = pending.roles.filter((role) => !given.some((one) => isSameHolder(one, role)));
    const ask = `sovereign run approve ${runId} --approver ${others.join("|")}`;
    return {
      ...pending,
      given,
      next: countHolders(given) < pending.required ? ask : resumeCommand(row),
    };
  }
  const text = `The run went on at the same moment: the approval is not recorded (${verdict.detail}). Try again.`;
  throw new SovereignError("ERR_RUN_FENCED", text);
}

async function approversOf(
  store: Store,
  tenantId: string,
  runId: string,
  actionDigest: string,
): Promise<string[]> {
  const found = new Set<string>();
  for await (const { entry } of readRun(store, tenantId, runId)) {
    if (entry.event_type !== APPROVED || entry.data["action_digest"] !== actionDigest) continue;
    found.add(textOf(entry.data["approver"]));
  }
  return [...found];
}

async function findPending(
  store: Store,
  tenantId: string,
  runId: string,
): Promise<PendingAction | null> {
  let last: PendingAction | null = null;
  for await (const { entry } of readRun(store, tenantId, runId)) {
    if (entry.event_type === "execution.pending") last = pendingOf(entry.data);
  }
  return last;
}

function pendingOf(data: JsonObject): PendingAction | null {
  const { step_id, action_digest, context_digest, decision, reason } = data;
  const parsed = formats.policyDecision.safeParse(decision);
  const approvals = parsed.success ? parsed.data.approvals : null;
  if (approvals === null) return null;
  return {
    stepId: textOf(step_id),
    actionDigest: textOf(action_digest),
    contextDigest: textOf(context_digest),
    roles: approvals.roles,
    required: approvals.required,
    reason: textOf(reason),
  };
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}
