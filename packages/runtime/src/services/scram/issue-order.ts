import {
  digestOf,
  type Envelope,
  type JsonObject,
  predicateType,
  type ScramOrder,
  type ScramReason,
  type ScramReset,
  type ScramScope,
  type Signer,
} from "@sovereign/core";
import { signStatement } from "../../authority/index.ts";
import {
  newId,
  newNonce,
  shiftTimestamp,
  systemClock,
  systemEntropy,
  timestampOf,
} from "../../system/index.ts";
import { switchInstallationId } from "../../home/index.ts";

/** An order that is used at once is good for this long. */
const TTL_MS = 5 * 60_000;

/** What an order says, besides who it is for and when. */
export interface OrderContent {
  readonly scope: ScramScope;
  readonly reason: ScramReason;
  readonly statement: string | null;
  readonly metadata: JsonObject;
  /** Whose kill switch it is for, where that is not the data folder's own. */
  readonly installation?: string | null;
}

/** A new order of an installation, signed by one key or both. */
export function issueScramOrder(
  home: string,
  content: OrderContent,
  signers: readonly Signer[],
  validMs = TTL_MS,
): Envelope {
  const { scope, reason, statement, metadata, installation } = content;
  const order: ScramOrder = {
    ...fresh(installation ?? switchInstallationId(home), validMs),
    order_id: newId("ord_", systemEntropy),
    scope,
    reason,
    statement,
    metadata,
  };
  return signScramOrder(order, signers);
}

/** Sign an order as it is: the second of two signs what the first one wrote. */
export function signScramOrder(order: ScramOrder, signers: readonly Signer[]): Envelope {
  const subject = { name: order.order_id, sha256: digestOf(order) };
  return signStatement([subject], predicateType("scram-order"), order, ...signers);
}

/** A new reset of an installation, which lifts these stops and no other. */
export function issueScramReset(
  home: string,
  eventIds: readonly string[],
  statement: string,
  signers: readonly Signer[],
): Envelope {
  const reset: ScramReset = {
    ...fresh(switchInstallationId(home), TTL_MS),
    reset_id: newId("rst_", systemEntropy),
    event_ids: [...eventIds],
    statement,
  };
  const subject = { name: reset.reset_id, sha256: digestOf(reset) };
  return signStatement([subject], predicateType("scram-reset"), reset, ...signers);
}

function fresh(
  installationId: string,
  validMs: number,
): Pick<ScramOrder, "installation_id" | "nonce" | "issued_at" | "expires_at"> {
  const issuedAt = timestampOf(systemClock);
  return {
    installation_id: installationId,
    nonce: newNonce(systemEntropy),
    issued_at: issuedAt,
    expires_at: shiftTimestamp(issuedAt, validMs),
  };
}
