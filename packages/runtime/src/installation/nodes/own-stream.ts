import { INSTALLATION_LOG, type JsonObject, type LedgerEntry } from "@sovereign/core";
import type { Clock } from "../../system/index.ts";
import type { DataFolder } from "../../home/index.ts";
import type { Journal } from "../../scram/index.ts";
import type { Store } from "../../store/index.ts";
import { anchorInstallation } from "./journal-anchor.ts";
import { recordLedgerEvent } from "../ledger-record.ts";
import type { SovereignNode } from "./membership.ts";

interface Owned {
  readonly folder: Pick<DataFolder, "scram">;
  readonly store: Store;
  readonly node: SovereignNode;
  readonly journal: Journal;
  readonly clock: Clock;
}

/**
 * A node's own stream of the installation's log, beside the journal that it is taken from. The database
 * may be set back by a failover, so that the stream is shorter than it was; and a copy of this data
 * folder may write to it.
 */
export class OwnStream {
  readonly #owned: Owned;
  /** As many lines as the ledger was once seen to hold. */
  #held: number;

  /** @param held as an earlier process left it; 0 where none did */
  constructor(owned: Owned, held: number) {
    this.#owned = owned;
    this.#held = held;
  }

  /** As many lines as the ledger was once seen to hold. */
  get held(): number {
    return this.#held;
  }

  /** Whether an entry of this stream was taken from this node's journal. */
  wrote({ sequence, timestamp, data }: LedgerEntry): boolean {
    const { journal } = this.#owned;
    if (sequence >= journal.lines.length) journal.refresh();
    const line = journal.lines[sequence];
    const { previous_hash } = (data["journal"] ?? {}) as JsonObject;
    return line?.at === timestamp && line.previous_hash === previous_hash;
  }

  /**
   * Bring the stream up to the journal. A stream that was longer before is said to have been set back, in
   * the log itself.
   *
   * @param setBack the log was seen to lack what it held before
   * @throws ERR_STORE_UNAVAILABLE, ERR_STREAM_CONFLICT, ERR_NODE_CLONED
   */
  async secure(setBack: boolean): Promise<void> {
    const { store, node, journal, clock } = this.#owned;
    const { count } = await store.streamHead(INSTALLATION_LOG, node.stream);
    journal.refresh();
    const lost = Math.max(0, this.#held - count);
    if (count < journal.lines.length) await anchorInstallation(this.#owned, true);
    if (setBack || lost > 0) {
      const data = { node_id: node.id, lines_lost: lost, lines: journal.lines.length };
      await recordLedgerEvent(store, clock, "ledger.set_back", "CRITICAL", data);
    }
    this.#held = journal.lines.length;
  }
}
