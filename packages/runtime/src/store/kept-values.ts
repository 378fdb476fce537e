import {
  canonicalize,
  type JsonValue,
  parseStrictJson,
  SovereignError,
  utf8Encode,
} from "@sovereign/core";
import type { KeptValues } from "../runs/index.ts";
import { claimOf } from "./claims.ts";
import { codeOf, type Database } from "./database.ts";

/** SQLSTATE: the tenant keeps as many as it may. */
const TOO_MANY = "54000";

/** The values that a tenant keeps between runs. Written twice is written once. */
export function keptValues(database: Database, tenant: string): KeptValues {
  const claim = claimOf(tenant);
  return {
    get: (key) =>
      database.read(claim, async (client) => {
        const found = await client.query<{ value: string }>(
          "select value from sovereign.kv where key = $1",
          [key],
        );
        const [row] = found.rows;
        return row === undefined ? undefined : valueOf(row.value);
      }),
    put: async (key, value) => {
      const text = value === undefined ? null : canonicalize(value);
      try {
        await database.read(claim, (client) =>
          client.query("select sovereign.kv_put($1, $2)", [key, text]),
        );
      } catch (error) {
        if (codeOf(error) !== TOO_MANY) throw error;
        const said = "The tenant keeps 10000 values already: delete one with the operation delete.";
        throw new SovereignError("ERR_SKILL_FAILED", said, {}, error);
      }
    },
  };
}

/** @throws an ERR_JSON code where the row was changed to what is no JSON */
function valueOf(text: string): JsonValue {
  return parseStrictJson(utf8Encode(text));
}
