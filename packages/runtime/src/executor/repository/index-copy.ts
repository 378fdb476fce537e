import { existsSync, lstatSync, rmSync, utimesSync } from "node:fs";
import { copyPlainFile, INDEX_BYTES_MAX, type UserRepository } from "../git/index.ts";

/** Copy the user's index to look at it there; where there is none, the copy is none either. */
export function copyIndex({ index }: UserRepository, to: string): void {
  if (existsSync(index)) copyKeepingTime(index, to);
  else rmSync(to, { force: true });
}

/**
 * Git trusts what an index says of a file only when the index is newer than the file: a copy that
 * were newer than the original would make it trust too much.
 */
export function copyKeepingTime(from: string, to: string): void {
  const { mtimeMs } = lstatSync(from);
  copyPlainFile(from, to, INDEX_BYTES_MAX);
  const seconds = Math.floor(mtimeMs) / 1000;
  utimesSync(to, seconds, seconds);
}
