import {
  type EntryData,
  type Envelope,
  holderOf,
  isSovereignError,
  type KeyTable,
  type KeyWindow,
  parseEnvelope,
  verifyEnvelope,
} from "@sovereign/core";
import type { Authority } from "../../authority/index.ts";
import type { Pending } from "../../kernel/index.ts";
import { type LedgerReader, readRun } from "../../ledger/index.ts";
import { APPROVED } from "../../runs/index.ts";

/** As many as the kernel looks at. */
const APPROVALS_MAX = 64;
/** Envelopes that are read at once. */
const PAGE = 256;

interface ApprovalsOptions {
  readonly store: Pick<LedgerReader, "readStream" | "readEnvelopes">;
  readonly tenantId: string;
  readonly runId: string;
  readonly authority: Authority;
  readonly keys: () => KeyTable;
  /** Roles whose keys the caller holds here and consents with. */
  readonly approvers: readonly string[];
  readonly onProgress: (
    progress:
      | { readonly event: "approval.needed"; readonly action: string; readonly reason: string }
      | { readonly event: "approval.given"; readonly role: string },
  ) => void;
}

/** Approvals that were given before, and those that the caller gives now with keys held here. */
export async function gatherApprovals(
  options: ApprovalsOptions,
  pending: Pending,
): Promise<readonly Envelope[] | null> {
  const { authority, approvers, onProgress } = options;
  const wanted = pending.decision.approvals;
  if (wanted === null) return null;
  const own = approvers.filter((one) => wanted.roles.includes(one)).slice(0, APPROVALS_MAX);
  const room = APPROVALS_MAX - own.length;
  const envelopes = await readApprovals(options, pending.actionDigest, room);
  // The kernel has seen none of those that were recorded before.
  const { required, roles } = wanted;
  const recorded = `needs ${required} approvals of ${roles.join(", ")}; ${envelopes.length} recorded`;
  const reason = envelopes.length === 0 ? pending.reason : recorded;
  onProgress({ event: "approval.needed", action: pending.actionDigest, reason });
  for (const role of own) {
    envelopes.push(
      await authority.issueApproval(role, pending.actionDigest, pending.contextDigest),
    );
    onProgress({ event: "approval.given", role });
  }
  // Even too few are handed on: the kernel counts them, and says which it leaves out.
  return envelopes.length > 0 ? envelopes : null;
}

/**
 * The approvals of one action that stand in a run's stream, in the order of the ledger: the newest of
 * each person who may approve it, and as many more as there is room for. Who a person is says the key
 * that signed; whoever records approvals without number pushes out none but their own. Whether they
 * count is the kernel's to judge.
 */
async function readApprovals(
  { store, tenantId, runId, keys }: ApprovalsOptions,
  actionDigest: string,
  room: number,
): Promise<Envelope[]> {
  const digests = new Set<string>();
  for await (const { entry } of readRun(store, tenantId, runId)) {
    const { action_digest: action, envelopes } = entry.data;
    if (entry.event_type !== APPROVED || action !== actionDigest) continue;
    digests.add((envelopes as EntryData<"attestation.issued">["envelopes"])["approval"] ?? "");
  }
  const newest = [...digests].reverse();
  const windows = keys().windows.filter(({ record }) => record.purpose === "approval");
  const counts = new Map<string, number>();
  const ranked: { readonly envelope: Envelope; readonly at: number; readonly rank: number }[] = [];
  for (let from = 0; from < newest.length; from += PAGE) {
    const page = newest.slice(from, from + PAGE);
    const found = await store.readEnvelopes(tenantId, page);
    for (const [offset, digest] of page.entries()) {
      const envelope = readEnvelope(found.get(digest));
      if (envelope === null) continue;
      const holder = signerOf(envelope, windows);
      const rank = counts.get(holder) ?? 0;
      counts.set(holder, rank + 1);
      if (rank < room) ranked.push({ envelope, at: from + offset, rank });
    }
  }
  return ranked
    .sort((one, other) => one.rank - other.rank || one.at - other.at)
    .slice(0, room)
    .sort((one, other) => other.at - one.at)
    .map(({ envelope }) => envelope);
}

/** Null for what is no envelope: nothing can be judged of it. */
function readEnvelope(bytes: Uint8Array | undefined): Envelope | null {
  try {
    return bytes === undefined ? null : parseEnvelope(bytes);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return null;
  }
}

/** The holder of the key that signed; all that no approver's key signed is nobody's. */
function signerOf(envelope: Envelope, windows: readonly KeyWindow[]): string {
  try {
    const { signers } = verifyEnvelope(
      envelope,
      windows.map(({ key }) => key),
    );
    const signer = windows.find(({ key }) => key.keyId === signers[0]?.keyId);
    return `holder:${holderOf(signer?.record.role ?? "")}`;
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return "nobody";
  }
}
