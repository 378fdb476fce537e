import type pg from "pg";
import { Claims } from "../../src/store/claims.ts";
import { COMMIT, claimParameters, commitParameters } from "../../src/store/commit-sql.ts";
import { BEGIN, CLAIM } from "../../src/store/database.ts";
import { claimSecretOf } from "../../src/store/migrate.ts";
import type { CommitItem } from "../../src/ledger/index.ts";

/** The claims of an installation, as whoever owns its database can make them. */
export async function claimsBy(owner: pg.Client): Promise<Claims> {
  return new Claims(await claimSecretOf(owner));
}

/** Begin a transaction that sees the rows of a claim's log. */
export async function beginWith(client: pg.Client, claims: Claims, name: string): Promise<void> {
  const begun = (await client.query(BEGIN)) as unknown as pg.QueryResult<{ challenge: string }>[];
  const challenge = begun[2]?.rows[0]?.challenge ?? "";
  await client.query(CLAIM, [claims.forTransaction(name, challenge)]);
}

/** Call the commit with these claims, over a connection of one's own. */
export async function commitBy(
  client: pg.Client,
  claims: Claims,
  names: readonly string[],
  items: readonly CommitItem[],
  batch = "batch",
): Promise<{ sizes: string[]; refusals: number[] | null }[]> {
  const values = commitParameters(batch, items);
  const found = await client.query<{ sizes: string[]; refusals: number[] | null }>(COMMIT.text, [
    ...values,
    ...claimParameters(claims, names, values),
  ]);
  return found.rows;
}
