import { SovereignError } from "@sovereign/core";

/** What the repository holds is not what it should be. */
export function corrupt(what: string, cause?: unknown): SovereignError {
  const text = `The repository is damaged: ${what}.`;
  return new SovereignError("ERR_GIT_OBJECT_CORRUPT", text, {}, cause);
}

export function missing(what: string): SovereignError {
  return new SovereignError("ERR_GIT_OBJECT_MISSING", `The repository does not have ${what}.`);
}

/** Whoever made the repository may have made it to be expensive to read. */
export function tooMuch(what: string): SovereignError {
  return new SovereignError("ERR_GIT_OBJECT_LIMIT", `Reading the repository stopped: ${what}.`);
}

/** @param why with what to do about it, where something can be done */
export function unreadable(folder: string, why: string, cause?: unknown): SovereignError {
  const text = `Cannot read ${folder} as a git repository: ${why}.`;
  return new SovereignError("ERR_REPOSITORY_UNREADABLE", text, { folder }, cause);
}
