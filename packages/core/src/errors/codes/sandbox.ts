import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by process and sandbox. */
export const sandboxCodes = {
  ERR_SANDBOX_REQUEST: row.input("The sandbox cannot enforce exactly what is asked for."),
  ERR_MOUNT_REFUSED: row.input("Commands may not see this file or folder, or not there."),
  ERR_SANDBOX_UNAVAILABLE: row.fatal(
    "The sandbox that is asked for is not available on this machine, so nothing runs.",
  ),
  ERR_SANDBOX_SURVIVOR: row.fatal("A process of a sandbox did not die."),
  ERR_SANDBOX_ENGINE_LOST: row.transient(
    "The engine that runs sandboxes ended, or does not answer.",
  ),
} as const satisfies Record<string, ErrorRow>;
