import type { EntryData, ErrorCode } from "@sovereign/core";

export type EgressEnd = EntryData<"egress.closed">["ended"];

/** A connection that was not made: to where, and why. */
export interface RefusedHost extends EgressRefusal {
  readonly host: string;
}

/** Why something is not done. */
export interface EgressRefusal {
  readonly code: ErrorCode;
  readonly reason: string;
}

/**
 * What a run says to connections: the policy's decision, and the record. Implemented by `EgressDesk`
 * for whoever has a run's recorder.
 */
export interface EgressCalls {
  /** @returns why the policy does not let it through; null where it does */
  decide(host: string, port: number): Promise<EgressRefusal | null>;
  /**
   * Before anything is connected. Durable when it resolves.
   * @returns the connection's name in the record
   * @throws ERR_EGRESS_DENIED, ERR_STORE_UNAVAILABLE, ERR_RUN_FENCED: then nothing is connected
   */
  connected(host: string, port: number, address: string): Promise<string>;
  closed(connection: string, ended: EgressEnd, sent: number, received: number): Promise<void>;
  refused(host: string, code: ErrorCode, reason: string): Promise<void>;
}

/** What to look at beside a program's own words: it may have failed for want of a host. */
export function refusedWords(refused: RefusedHost | null): string {
  if (refused === null) return "";
  const { host, code, reason } = refused;
  return `; a connection to ${host} was refused: ${code}: ${reason}`;
}
