import { SovereignError } from "@sovereign/core";

/** A file of parts that somebody brings: what it is called, which command writes it, what is wrong in it. */
export interface PartsKind {
  readonly name: string;
  readonly command: string;
  readonly fault: (place: string, why: string, cause?: unknown) => SovereignError;
}

/** A backup that is damaged or altered: where, and what is wrong there. */
export function unreadableBackup(place: string, why: string, cause?: unknown): SovereignError {
  const text = `The backup is damaged or was changed, at ${place}: ${why}. Nothing of it was used. Take another copy of it, or an earlier backup.`;
  return new SovereignError("ERR_BACKUP_INVALID", text, { place }, cause);
}

export const BACKUP: PartsKind = {
  name: "backup",
  command: "sovereign backup create",
  fault: unreadableBackup,
};
