import type { Breaker, BreakerRows } from "../runs/index.ts";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";

type BreakerRecord = Omit<Breaker, "changed_at"> & { readonly changed_at: Date };

/** The rows of a tenant's circuit breakers. */
export function breakerRows(database: Database, tenant: string): BreakerRows {
  const claim = claimOf(tenant);
  return {
    isOpen: ({ skill, host }) =>
      database.read(claim, async (client) => {
        const found = await client.query(
          "select from sovereign.breakers where skill = $1 and host = $2 and state <> 'closed'",
          [skill, host],
        );
        return found.rows.length > 0;
      }),
    list: () =>
      database.read(claim, async (client) => {
        const found = await client.query<BreakerRecord>(
          "select skill, host, state, failures, changed_at from sovereign.breakers order by state = 'closed', skill, host limit 1000",
        );
        return found.rows.map((row) => ({ ...row, changed_at: row.changed_at.toISOString() }));
      }),
  };
}
