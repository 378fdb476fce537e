import { SovereignError } from "@sovereign/core";
import type pg from "pg";
import type { ArchiveKeeper } from "./archives.ts";
import { asOwner } from "./as-owner.ts";
import { codeOf } from "./database.ts";
import type { Where } from "./where.ts";

/** SQLSTATE: one of the runs is in use. */
const IN_USE = "55006";

/** @throws ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE */
export async function keepArchives<T>(
  where: Where,
  log: string,
  work: (keeper: ArchiveKeeper) => Promise<T>,
): Promise<T> {
  return asOwner(where, (client) => work(keeperOf(client, log)));
}

function keeperOf(client: pg.Client, log: string): ArchiveKeeper {
  const count = async (text: string, values: unknown[]): Promise<number> =>
    Number((await client.query<{ count: string }>(text, values)).rows[0]?.count ?? 0);
  return {
    record: async (digest, recordedIndex, streams) => {
      const heads = [...streams.values()];
      const values = [
        [...streams.keys()],
        heads.map((head) => head.count),
        heads.map(({ hash }) => Buffer.from(hash, "hex")),
      ];
      try {
        await client.query("select sovereign.record_archive($1, $2, $3, $4, $5, $6)", [
          log,
          digest,
          recordedIndex,
          ...values,
        ]);
      } catch (cause) {
        if (codeOf(cause) !== IN_USE) throw cause;
        const why = cause instanceof Error ? cause.message : "one of its runs is in use";
        const text = `The archive was not recorded, and nothing left the database: ${why}: it has grown, is at work, or has an incident that is not resolved. Type the command again with another --out.`;
        throw new SovereignError("ERR_ARCHIVE_REFUSED", text, { digest }, cause);
      }
    },
    takeOut: ({ entries, envelopes }) =>
      count("select sovereign.take_out($1, $2, $3, $4) as count", [
        log,
        entries.map(({ index }) => index),
        envelopes.map(({ digest }) => digest),
        envelopes.map(({ index }) => index),
      ]),
    putBack: ({ entries, envelopes }) =>
      count("select sovereign.put_back($1, $2, $3, $4, $5) as count", [
        log,
        entries.map(({ index }) => index),
        entries.map(({ bytes }) => Buffer.from(bytes)),
        envelopes.map(({ digest }) => digest),
        envelopes.map(({ bytes }) => Buffer.from(bytes())),
      ]),
  };
}
