import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { requireRunsFolder } from "../../home/index.ts";
import { isOwnerDead, ownerText, removeHostile } from "../../executor/index.ts";
import type { Installation } from "../../installation/index.ts";
import { makeOwnFolder } from "../../system/index.ts";

/** A run's folder that the ledger knows nothing of yet. */
export interface NewRunFolder {
  readonly path: string;
  /** Have its first entry written. */
  admit(admission: () => Promise<void>): Promise<void>;
}

type Place = Pick<Installation, "folder" | "store" | "clock">;

/**
 * Make a new run's folder, and take away those of runs that were killed before their first entry.
 *
 * Beside it lies a mark, whose target says who makes the run: a link appears with its content or
 * not at all. While it is called `.new-…` nothing was sent to the ledger. `.admit-…` says that the
 * first entry may be on its way; when it is there, so is the run, and the mark goes.
 */
export async function makeRunFolder(
  place: Place,
  tenantId: string,
  runId: string,
): Promise<NewRunFolder> {
  await removeUnrecorded(place);
  const path = place.folder.run(runId);
  const mark = join(dirname(path), `.new-${runId}`);
  const admitting = join(dirname(path), `.admit-${runId}`);
  symlinkSync(`${ownerText(runId)} ${tenantId}`, mark);
  makeOwnFolder(path);
  return {
    path,
    admit: async (admission) => {
      renameSync(mark, admitting);
      await admission();
      rmSync(admitting, { force: true });
    },
  };
}

/** Seal a run or publish its evidence: until that is done, or this process is dead, a mark says so. */
export async function whilePublishing<T>(
  { folder }: Pick<Place, "folder">,
  runId: string,
  work: () => Promise<T>,
): Promise<T> {
  const mark = publishingMark(folder, runId);
  // Another node may have carried out all runs until now.
  mkdirSync(dirname(mark), { recursive: true, mode: 0o700 });
  rmSync(mark, { force: true });
  symlinkSync(ownerText(runId), mark);
  try {
    return await work();
  } finally {
    rmSync(mark, { force: true });
  }
}

/** Who is about to publish a run's evidence in this data folder; null where nobody is, or was. */
export function publishingBy(
  { folder }: Pick<Place, "folder">,
  runId: string,
): "living" | "dead" | null {
  const owner = targetOf(publishingMark(folder, runId));
  if (owner === null) return null;
  return isOwnerDead(owner) ? "dead" : "living";
}

function publishingMark(folder: Place["folder"], runId: string): string {
  return join(dirname(folder.run(runId)), `.publish-${runId}`);
}

/** The answer for a run that the ledger does not have: it may have been killed too early for that. */
export async function runNotFound(
  place: Place,
  tenantId: string,
  runId: string,
): Promise<SovereignError> {
  const removed = await removeUnrecorded(place);
  const why = removed.includes(runId)
    ? " It was killed before its first entry: nothing of it ran, and its folder is removed."
    : "";
  const text = `Tenant ${tenantId} has no run ${runId}.${why} Its runs: sovereign runs list`;
  return new SovereignError("ERR_RUN_NOT_FOUND", text);
}

/** After so long no entry of a dead process is on its way any more. */
const ADMISSION_MS = 10 * 60 * 1000;

/** @returns the runs whose folders are gone */
async function removeUnrecorded(place: Place): Promise<string[]> {
  requireRunsFolder(place.folder);
  const removed: string[] = [];
  for (const mark of marksOfTheDead(place.folder.runs)) {
    const recorded = mark.isAdmitting && (await isRecorded(place, mark));
    if (mark.isAdmitting && !recorded && ageOf(place, mark.path) < ADMISSION_MS) continue;
    try {
      if (!recorded) await removeHostile(place.folder.run(mark.runId));
    } catch {
      // Something that outlived its owner still writes there: whoever comes next finds the mark.
      continue;
    }
    rmSync(mark.path, { force: true });
    if (!recorded) removed.push(mark.runId);
  }
  return removed;
}

interface Mark {
  readonly path: string;
  readonly runId: string;
  readonly tenantId: string;
  readonly isAdmitting: boolean;
}

function marksOfTheDead(runs: string): Mark[] {
  return readdirSync(runs).flatMap((name) => {
    const [, stage, runId = ""] = /^\.(new|admit)-(run_[a-z0-9]+)$/.exec(name) ?? [];
    if (stage === undefined) return [];
    const path = join(runs, name);
    const text = targetOf(path);
    if (text === null || !isOwnerDead(text)) return [];
    const tenantId = text.split(" ").at(-1) ?? "";
    return { path, runId, tenantId, isAdmitting: stage === "admit" };
  });
}

async function isRecorded({ store }: Place, { tenantId, runId }: Mark): Promise<boolean> {
  return (await store.findRun(tenantId, runId)) !== null;
}

function ageOf({ clock }: Place, mark: string): number {
  const found = lstatSync(mark, { throwIfNoEntry: false });
  return found === undefined ? 0 : clock.now().getTime() - found.ctimeMs;
}

/** Null where its owner, or another who looks, took it away just now. */
function targetOf(mark: string): string | null {
  try {
    return readlinkSync(mark);
  } catch {
    return null;
  }
}
