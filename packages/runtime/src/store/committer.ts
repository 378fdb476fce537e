import { INSTALLATION_LOG, type SovereignError } from "@sovereign/core";
import { type Entropy, newNonce } from "../system/index.ts";
import type { CommitItem, CommitVerdict } from "../ledger/index.ts";
import { COMMIT, type CommitAnswer, commitParameters, invalid, verdictsOf } from "./commit-sql.ts";
import { claimOf, claimsOf } from "./claims.ts";
import { codeOf, type Database, HELD, LostCall } from "./database.ts";

/** Another batch was quicker with a nonce, or two waited for each other: as good as not tried. */
const RACES = new Set(["23505", "40001", "40P01"]);
const KEYS_CLAIM = `${INSTALLATION_LOG}/keys`;
/** Each race has a winner, so those who lose become fewer. */
const ATTEMPTS = 10;

/**
 * Commits batches, and finds out what became of one whose answer was lost.
 *
 * INVARIANT: an item is reported committed only when it is durable, and unavailable only when it
 * is not there and can not come any more, or when nobody can tell.
 */
export class Committer {
  readonly #database: Database;
  readonly #entropy: Entropy;

  constructor(database: Database, entropy: Entropy) {
    this.#database = database;
    this.#entropy = entropy;
  }

  /** One verdict for each item. Any other error than ours is due to one of the items. */
  async commitBatch(items: readonly CommitItem[]): Promise<readonly CommitVerdict[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(items);
      } catch (error) {
        if (items.length > 1) throw error;
        // Whoever lost a race may lose the next one against yet another.
        if (RACES.has(codeOf(error)) && attempt < ATTEMPTS) continue;
        // A datum that the database can not hold (SQLSTATE 22), or rows that contradict (23).
        if (/^2[23]...$/.test(codeOf(error))) return [invalid(codeOf(error))];
        throw error;
      }
    }
  }

  async #attempt(items: readonly CommitItem[]): Promise<readonly CommitVerdict[]> {
    const batch = newNonce(this.#entropy);
    const parameters = commitParameters(batch, items);
    const claims = claimsOf(items);
    try {
      let [answer] = await this.#database.call<CommitAnswer>(COMMIT, parameters, claims);
      if (answer === undefined) {
        // A log's first commit: it is opened by a transaction of its own.
        for (const claim of claims) {
          await this.#database.read(claim, (client) => client.query("select sovereign.open_log()"));
        }
        [answer] = await this.#database.call<CommitAnswer>(COMMIT, parameters, claims);
      }
      if (answer === undefined) throw new Error("a log that was opened is not there");
      return verdictsOf(answer, items);
    } catch (error) {
      if (error instanceof LostCall) return this.#resolve(batch, items, error.reason);
      if (codeOf(error) === HELD && claims.includes(KEYS_CLAIM)) await this.#endHolders();
      throw error;
    }
  }

  /** Somebody stays in a transaction that keeps the key log from growing: no key could be revoked. */
  async #endHolders(): Promise<void> {
    await this.#database
      .transaction(KEYS_CLAIM, (client) => client.query("select sovereign.end_gate_holders()"))
      .catch(() => undefined);
  }

  /**
   * The answer was lost: the batch is there, or on its way, or it never arrived. It is abandoned
   * first: if it is not there by then, the server refuses it should it still come. After that one
   * look tells.
   *
   * @throws ERR_STORE_UNAVAILABLE when nothing was committed, or the server does not come back
   */
  async #resolve(
    batch: string,
    items: readonly CommitItem[],
    lost: SovereignError,
  ): Promise<readonly CommitVerdict[]> {
    // Under the lock of one of its logs: the batch needs that, too.
    const [claim = ""] = claimsOf(items);
    await this.#database.read(claim, (client) =>
      client.query("select sovereign.abandon_batch($1)", [batch]),
    );
    const found: (CommitVerdict | null)[] = [];
    for (const item of items) {
      const index = await this.#find(item);
      found.push(index === null ? null : { status: "committed", firstIndex: index });
    }
    if (found.every((verdict) => verdict === null)) throw lost;
    // The batch was committed, so what is missing was refused; asking again tells why.
    const missing = items.filter((_, at) => found[at] === null);
    const again = missing.length === 0 ? [] : [...(await this.#attempt(missing))];
    return found.map((verdict) => verdict ?? (again.shift() as CommitVerdict));
  }

  #find(item: CommitItem): Promise<number | null> {
    return this.#database.read(claimOf(item.log), async (client) => {
      const found = await client.query<{ index: string; hash: string }>(
        "select index, encode(hash, 'hex') as hash from sovereign.entries where log_id = $1 and stream = $2 and sequence = $3",
        [item.log, item.stream, item.expectedHead.count],
      );
      const row = found.rows[0];
      return row !== undefined && row.hash === item.entries[0]?.hash ? Number(row.index) : null;
    });
  }
}
