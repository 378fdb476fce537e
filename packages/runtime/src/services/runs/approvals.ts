import {
  countHolders,
  digestOf,
  formats,
  isSameHolder,
  type JsonObject,
  type JsonValue,
  SovereignError,
} from "@sovereign/core";
import { Authority } from "../../authority/index.ts";
import { systemEntropy } from "../../system/index.ts";
import { StreamWriter, readRun } from "../../ledger/index.ts";
import type { RecordVerdict } from "../../kernel/index.ts";
import { APPROVED, makeGrant, RunRecorder } from "../../runs/index.ts";
import { resumeCommand } from "./resume-command.ts";
import { runNotFound } from "./run-folder.ts";
import type { Store } from "../../store/index.ts";
import type { Installation } from "../../installation/index.ts";

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
 * @throws ERR_RUN_NOT_FOUND, ERR_NOTHING_PENDING, ERR_APPROVER_REFUSED, ERR_KEY_NOT_FOUND, ERR_RUN_FENCED
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
  const epoch = await store.claimRun(tenantId, runId);
  const head = await store.streamHead(tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, head);
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch });
  const record = async (): Promise<RecordVerdict> => {
    // A server read the key log long ago. The commit refuses what an outdated one let pass.
    await keyLog.refresh();
    const keyEpoch = keyLog.head().count;
    const made = await makeGrant({ authority, clock }, approver, pending);
    const { approval } = made.envelopes;
    const envelopes = { approval: digestOf(approval) };
    const data = { ...made.data, key_epoch: keyEpoch, envelopes };
    const entry = { event: APPROVED, severity: "INFO", data, nonces: [], keyEpoch } as const;
    return recorder.write({ ...entry, envelopes: [approval] });
  };
  let verdict = await record();
  if (verdict.status === "refused" && verdict.reason === "key_epoch") verdict = await record();
  if (verdict.status === "committed") {
    const given = await approversOf(store, tenantId, runId, pending.actionDigest);
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
