import { isSovereignError, SovereignError } from "@sovereign/core";
import type { ConnectionTarget } from "./connection-target.ts";
import { codeOf, isConnectionLoss } from "./database.ts";

/** SQLSTATE of class 53, "insufficient resources". */
const DISK_FULL = "53100";

/** Why a database could not be opened or claimed, and what to look at. */
export function openError(target: ConnectionTarget, cause: unknown): SovereignError {
  const gone = isConnectionLoss(cause);
  if (target.kind === "url" && (gone || isSovereignError(cause, "ERR_STORE_UNAVAILABLE"))) {
    const reason = cause instanceof SovereignError ? cause.cause : cause;
    const code = codeOf(reason) || "it says nothing";
    const text = `The database at ${new URL(target.url).host} does not answer (${code}). Nothing was done. Look whether it runs and can be reached from here, and at DATABASE_URL, whose connect_timeout says how many seconds are waited; then try again.`;
    return new SovereignError("ERR_STORE_UNAVAILABLE", text, { code }, cause);
  }
  if (cause instanceof SovereignError) return cause;
  if (codeOf(cause) === DISK_FULL) {
    const text = `The disk of the database is full: ${messageOf(cause)}. Nothing was done. Make room, then try again.`;
    return new SovereignError("ERR_DISK_LOW", text, {}, cause);
  }
  const code = gone ? "ERR_STORE_UNAVAILABLE" : "ERR_POSTGRES_START";
  return new SovereignError(code, `Cannot open the database: ${messageOf(cause)}.`, {}, cause);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : "unknown";
}
