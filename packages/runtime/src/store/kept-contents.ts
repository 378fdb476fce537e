import type { ContentStore } from "../runs/index.ts";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";

const PIECE_BYTES = 1024 * 1024;

/** Contents in the database: one transaction writes all pieces, or none. */
export function keptContents(database: Database, tenant: string): ContentStore {
  const claim = claimOf(tenant);
  return {
    put: (digest, bytes) =>
      database.read(claim, async (client) => {
        const count = Math.ceil(bytes.length / PIECE_BYTES);
        const begun = await client.query<{ isNew: boolean }>(
          'select sovereign.content_begin($1, $2) as "isNew"',
          [digest, count],
        );
        if (begun.rows[0]?.isNew !== true) return;
        for (let at = 0; at < count; at += 1) {
          const piece = bytes.subarray(at * PIECE_BYTES, (at + 1) * PIECE_BYTES);
          await client.query("select sovereign.content_put($1, $2, $3)", [digest, at, piece]);
        }
      }),
    get: (digest) =>
      database.read(claim, async (client) => {
        const found = await client.query<{ pieces: number }>(
          "select pieces from sovereign.contents where digest = $1",
          [digest],
        );
        const [row] = found.rows;
        if (row === undefined) return null;
        const parts: Uint8Array[] = [];
        for (let at = 0; at < row.pieces; at += 1) {
          const piece = await client.query<{ bytes: Uint8Array }>(
            "select bytes from sovereign.content_pieces where digest = $1 and piece = $2",
            [digest, at],
          );
          parts.push(piece.rows[0]?.bytes ?? new Uint8Array());
        }
        return Buffer.concat(parts);
      }),
  };
}
