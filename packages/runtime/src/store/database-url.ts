import { SovereignError } from "@sovereign/core";
import type { ConnectionTarget } from "./connection-target.ts";

const PATIENCE_S = 10;
const PATIENCE_S_MAX = 300;

/**
 * What `DATABASE_URL` says, as far as it can be told before anybody answers. Its `connect_timeout`, in
 * seconds as libpq has it, says for how long the server may be silent.
 *
 * @throws ERR_DATABASE_URL, which never quotes it: a password may be in it
 */
export function parseDatabaseUrl(text: string): ConnectionTarget & { kind: "url" } {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== "postgres:" && url?.protocol !== "postgresql:") {
    throw refused("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, found something else");
  }
  const patience = url.searchParams.get("connect_timeout") ?? String(PATIENCE_S);
  const seconds = /^\d{1,3}$/.test(patience) ? Number(patience) : 0;
  if (seconds < 1 || seconds > PATIENCE_S_MAX) {
    throw refused(`connect_timeout: expected whole seconds from 1 to ${PATIENCE_S_MAX}`);
  }
  return { kind: "url", url: text, patienceMs: seconds * 1000 };
}

function refused(what: string): SovereignError {
  const text = `DATABASE_URL: ${what}. Without it, an embedded PostgreSQL is used.`;
  return new SovereignError("ERR_DATABASE_URL", text);
}
