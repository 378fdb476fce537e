import { SovereignError } from "@sovereign/core";
import type { PartsKind } from "../backup/backup-error.ts";

/** An archive that is damaged or altered: where, and what is wrong there. */
export const ARCHIVE: PartsKind = {
  name: "archive",
  command: "sovereign ledger archive",
  fault: (place, why, cause) => {
    const text = `The archive is damaged or was changed, at ${place}: ${why}. Nothing of it was used. Take another copy of it.`;
    return new SovereignError("ERR_ARCHIVE_INVALID", text, { place }, cause);
  },
};

export function refusedArchive(text: string, details: Record<string, string> = {}): SovereignError {
  return new SovereignError("ERR_ARCHIVE_REFUSED", text, details);
}
