import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { canonicalBytes, fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import { replaceOwnFile, requireOwnFile } from "../../system/index.ts";
import type { UserRepository } from "../git/index.ts";
import type { Kept } from "./tree-moves.ts";

const content = z.strictObject({
  kind: z.enum(["absent", "file", "executable", "link", "folder", "other"]),
  sha256: fields.digest.nullable(),
});
/** Below the work tree, and not in git's own folder, whatever the data folder's file says. */
const treePath = z
  .string()
  .refine(
    (path) =>
      !path.includes("\0") &&
      path.split("/").every((name) => !["", ".", ".."].includes(name)) &&
      path.split("/")[0]?.toLowerCase() !== ".git",
    "expected a path below the work tree",
  );
const journalFormat = z.strictObject({
  state: z.enum(["applying", "done", "undone"]),
  root: z.string(),
  /** Git's folder there: its path, and the device and inode by which a copy is told from it. */
  place: z.strictObject({ git_dir: z.string(), identity: z.string() }).optional(),
  ref: z
    .string()
    .regex(/^refs\/\S+$/, "expected a full ref")
    .nullable(),
  from: fields.gitId,
  to: fields.gitId,
  paths: z.array(z.strictObject({ path: treePath, before: content, after: content })),
  /** Folders that are made on the way. */
  folders: z.array(treePath),
  /** What other programs wrote while files were moved, and where that is kept. */
  kept: z.array(z.strictObject({ path: treePath, kept: z.string() })).optional(),
  /** Of a move that was undone: what the user edited meanwhile, which stays, and why its copies do. */
  foreign: z.array(treePath).optional(),
});

/** What a move of the branch is about, and how far it came. It outlives its process. */
export type Journal = z.infer<typeof journalFormat>;

/** Where a switch is at work, for {@link isCopy}. */
export function placeOf({ gitDir }: Pick<UserRepository, "gitDir">): NonNullable<Journal["place"]> {
  return { git_dir: gitDir, identity: identityOf(gitDir) ?? "" };
}

/**
 * True for a copy of the repository in which a switch is at work: that one is still at its place. One
 * that was moved is the same one, also across file systems.
 */
export function isCopy({ place }: Journal, { gitDir }: Pick<UserRepository, "gitDir">): boolean {
  if (place === undefined || place.git_dir === gitDir) return false;
  return identityOf(gitDir) !== place.identity && identityOf(place.git_dir) !== null;
}

function identityOf(folder: string): string | null {
  const found = statSync(folder, { bigint: true, throwIfNoEntry: false });
  return found?.isDirectory() === true ? `${found.dev} ${found.ino}` : null;
}

/** The commit that a folder's switch moved the branch to; null where it did not. */
export function switchedTo(folder: string): string | null {
  const journal = readJournal(folder);
  return journal?.state === "done" ? journal.to : null;
}

/** True while what a folder's switch began is neither complete nor undone. */
export function isSwitchOpen(folder: string): boolean {
  return readJournal(folder)?.state === "applying";
}

/** True while what a folder's switch began is still to be ended: all is put back but the user's own edits. */
export function isSwitchHalf(folder: string): boolean {
  const journal = readJournal(folder);
  return journal?.state === "applying" && (journal.foreign ?? []).length === 0;
}

export function readJournal(folder: string): Journal | null {
  const path = join(folder, "journal.json");
  if (!existsSync(path)) return null;
  return parseFormat(journalFormat, parseStrictJson(requireOwnFile(path)), path);
}

export function writeJournal(folder: string, journal: Journal): void {
  const { kept = [], foreign = [], place, ...rest } = journal;
  const content = canonicalBytes({
    ...rest,
    ...(place === undefined ? {} : { place }),
    ...(kept.length === 0 ? {} : { kept }),
    ...(foreign.length === 0 ? {} : { foreign }),
  });
  replaceOwnFile(join(folder, "journal.json"), content);
}

/** What a switch found that is nowhere else, also one that an earlier process ended. */
export function keptBy(folder: string): readonly Kept[] {
  return readJournal(folder)?.kept ?? [];
}
