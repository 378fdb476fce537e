import { readdirSync } from "node:fs";
import { join } from "node:path";
import { peekSignal } from "./signal-file.ts";

/** Says that the call of that name is whole. */
const READY = /^(call\.\d{1,20})\.ready$/;

/** The calls that wait in the kill switch's folder for a sentinel, by name. */
export function waitingCalls(folder: string): string[] {
  try {
    return readdirSync(folder).flatMap((name) => READY.exec(name)?.[1] ?? []);
  } catch {
    // Whoever watches over the folder itself notices when it is gone.
    return [];
  }
}

/**
 * A stop that was called for and that no sentinel has carried out yet: it is in force from the moment
 * at which the call is whole, because the next sentinel carries it out before anything runs.
 *
 * @param signal the signal file's name
 * @returns the file that calls for it; null when none does
 */
export function pendingStop(folder: string, signal = "signal"): string | null {
  const found = [signal, ...waitingCalls(folder)].find((name) => {
    const said = peekSignal(join(folder, name));
    // A call without words is a stop all the same; a link or another user's file is not obeyed.
    return said === null ? name !== signal : said.kind !== "refused";
  });
  return found ?? null;
}
