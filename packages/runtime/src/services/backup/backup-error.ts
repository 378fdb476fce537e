import { SovereignError } from "@sovereign/core";

/** A backup that is damaged or altered: where, and what is wrong there. */
export function unreadableBackup(place: string, why: string, cause?: unknown): SovereignError {
  const text = `The backup is damaged or was changed, at ${place}: ${why}. Nothing of it was used. Take another copy of it, or an earlier backup.`;
  return new SovereignError("ERR_BACKUP_INVALID", text, { place }, cause);
}
