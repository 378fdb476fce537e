import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by runs, pipeline and cli. */
export const runsCodes = {
  ERR_DATA_FOLDER: row.fatal("The data folder can not be used."),
  ERR_RUN_DIVERGED: row.integrity("A resumed run is asked for something else than before."),
} as const satisfies Record<string, ErrorRow>;
