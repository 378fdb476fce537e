import { isIP, Socket } from "node:net";
import {
  fields,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import pg from "pg";
import Cursor from "pg-cursor";
import { maskBytes, quotable } from "./mask.ts";
import { BODY_BYTES_MAX, type PostgresAsk } from "./protocol.ts";
import type { SecretPlaces } from "./secrets-in.ts";
import { countBytes, type Wire } from "./wire.ts";

const CONNECT_MS = 30_000;
const BATCH = 100;

export interface PostgresAnswer {
  readonly columns: readonly string[];
  readonly rows: readonly JsonValue[];
  readonly truncated: boolean;
  readonly command: string | null;
  readonly row_count: number | null;
}

/** A query whose secrets are in their places. */
export interface FilledQuery {
  readonly ask: PostgresAsk;
  readonly host: string;
  readonly user: string;
  readonly password: string;
}

/** @throws ERR_SECRET_UNKNOWN, ERR_SECRET_DENIED */
export async function fillQuery(
  ask: PostgresAsk,
  host: string,
  places: SecretPlaces,
): Promise<FilledQuery> {
  const { user, password } = ask.login;
  return {
    ask,
    host,
    user: await places.fill(user),
    password: await places.fill(password),
  };
}

/** Object identifiers of types, as every server has them. */
const BOOLEAN = 16;
const NUMBERS: readonly number[] = [21, 23, 700, 701];

/** What a value is in JSON. Numbers that JSON would round stay texts, and so do dates. */
const TYPES = {
  getTypeParser: (type: number) => (text: string) => {
    if (type === BOOLEAN) return text === "t";
    const isNumber = NUMBERS.includes(type) && Number.isFinite(Number(text));
    return isNumber ? Number(text) : text;
  },
};

/** One statement, in a transaction of its own, at one address of a server. */
export async function query(
  { ask, host, user, password }: FilledQuery,
  port: number,
  wire: Wire,
  places: SecretPlaces,
): Promise<PostgresAnswer> {
  const { database, tls, read_only: readsOnly } = ask;
  const socket = new Socket();
  countBytes(socket, wire);
  const client = new pg.Client({
    host: wire.address,
    port,
    user,
    // As a function: an empty one would be looked up in this machine's environment and files.
    password: () => password,
    database,
    ssl: tls === "none" ? false : isIP(host) === 0 ? { servername: host } : { host },
    stream: () => socket,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: "sovereign",
    types: TYPES,
  });
  client.on("error", () => undefined);
  const cut = (): void => {
    socket.destroy();
  };
  wire.signal.addEventListener("abort", cut);
  let stage: "before" | "at work" = "before";
  try {
    await client.connect();
    await client.query(readsOnly ? "begin read only" : "begin");
    stage = "at work";
    const answer = await readRows(client, ask);
    await client.query("commit");
    return masked(answer, places);
  } catch (error) {
    throw judge(error, stage === "at work" && !readsOnly, places);
  } finally {
    wire.signal.removeEventListener("abort", cut);
    // A server that does not answer any more keeps nobody waiting.
    void client.end().catch(() => undefined);
    setTimeout(cut, 1000).unref();
  }
}

async function readRows(client: pg.Client, ask: PostgresAsk): Promise<PostgresAnswer> {
  const cursor = client.query(
    new Cursor<unknown[]>(ask.sql, [...ask.values], { rowMode: "array", types: TYPES }),
  );
  const rows: unknown[][] = [];
  let size = 0;
  let columns: string[] = [];
  let command: string | null = null;
  let rowCount: number | null = null;
  const { max_rows: wanted } = ask;
  for (;;) {
    const asked = Math.min(BATCH, wanted + 1 - rows.length);
    const { found, result } = await readBatch(cursor, asked);
    columns = result.fields.map(({ name }) => name);
    ({ command } = result);
    rowCount = result.rowCount ?? rowCount;
    for (const row of found) rows.push(row);
    size += JSON.stringify(found).length;
    if (size > BODY_BYTES_MAX) {
      const text = `an answer of more than ${BODY_BYTES_MAX} bytes is not kept`;
      throw new SovereignError("ERR_SKILL_FAILED", text);
    }
    if (found.length < asked || rows.length > wanted) break;
  }
  await cursor.close();
  const truncated = rows.length > wanted;
  const kept = rows.slice(0, wanted) as JsonValue[];
  return { columns, rows: kept, truncated, command, row_count: truncated ? null : rowCount };
}

function readBatch(
  cursor: Cursor<unknown[]>,
  count: number,
): Promise<{ found: unknown[][]; result: pg.QueryResult }> {
  return new Promise((resolve, reject) => {
    cursor.read(count, (error: Error | null | undefined, found, result) => {
      if (error === null || error === undefined) resolve({ found, result });
      else reject(error);
    });
  });
}

function masked(answer: PostgresAnswer, places: SecretPlaces): PostgresAnswer {
  const bytes = maskBytes(Buffer.from(JSON.stringify(answer)), places.used);
  const found = parseFormat(fields.jsonObject, parseStrictJson(bytes), "answer");
  return found as unknown as PostgresAnswer;
}

/** What the server itself refuses did not happen: its transaction is undone. */
function judge(error: unknown, mayHaveHappened: boolean, places: SecretPlaces): unknown {
  if (error instanceof SovereignError) return error;
  if (error instanceof pg.DatabaseError) {
    const { code = "", message } = error;
    const said = quotable(message, places.used);
    return new SovereignError("ERR_SKILL_FAILED", `the database refuses it: ${code} ${said}`);
  }
  const { code = "" } = error as NodeJS.ErrnoException;
  const why = /^[A-Z_0-9]{1,60}$/.test(code) ? code : "the connection broke";
  const text = `the database did not answer: ${why}`;
  return new SovereignError("ERR_SKILL_FAILED", text, { mayHaveHappened });
}
