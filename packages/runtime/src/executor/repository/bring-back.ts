import { rmSync } from "node:fs";
import { join } from "node:path";
import { digestOf, isSovereignError, sha256Hex, SovereignError } from "@sovereign/core";
import { withLook } from "../../process/index.ts";
import {
  beginAgain,
  type Change,
  createPrivateRepository,
  type Git,
  type Head,
  isConnected,
  keepObjects,
  readChanges,
  type UserRepository,
} from "../git/index.ts";
import { makeOwnFolder } from "../../system/index.ts";
import type { Kept } from "./tree-moves.ts";
import { type SwitchStep, switchTree } from "./tree-switch.ts";

/** A patch, with what its commit was judged as. */
export interface JudgedPatch {
  readonly stepId: string;
  readonly patch: Uint8Array;
  readonly sha256: string;
  readonly commit: string;
  readonly tree: string;
}

export interface BringBackOptions {
  readonly repository: UserRepository;
  /** Where the run began. */
  readonly base: Head;
  readonly patches: readonly JudgedPatch[];
  /** Where the patches become commits again: `staging` in it is emptied first. */
  readonly folder: string;
  /** Where the journal of the branch's move is; the same for every attempt of a run. */
  readonly switchFolder: string;
  /** Names what keeps the new objects in the user's repository; see releaseKept. */
  readonly run: string;
  /** Seconds since 1970, for the reflog. */
  readonly at: number;
  readonly onStep?: (step: BringBackStep) => void;
}

/** A step after which tests look, or interfere. */
export type BringBackStep = SwitchStep | "kept";

/** What came back: the user's branch is at `head`, whose tree is the one that was judged. */
export interface BroughtBack {
  readonly base: string;
  readonly head: string;
  readonly tree: string;
  readonly commits: readonly string[];
  readonly changes: readonly Change[];
  /** What other programs wrote while files were moved, and is nowhere else. */
  readonly kept: readonly Kept[];
}

/**
 * Make the patches into commits again, apart from both sides, and move the user's branch to them.
 * What arrives is what the patches say, and it must be what was judged: commit by commit, tree id
 * by tree id.
 *
 * @throws ERR_BRING_BACK_MISMATCH when the patches give something else
 * @throws as {@link switchTree}, with both sides untouched
 */
export async function bringBack(options: BringBackOptions): Promise<BroughtBack> {
  const { repository, base, patches, run, folder, onStep } = options;
  const { git, commits } = await stagePatches(options);
  const head = commits.at(-1) ?? base.commit;
  const tree = patches.at(-1)?.tree ?? base.tree;
  const changes = await readChanges(git, base.tree, tree);
  let kept: readonly Kept[] = [];
  if (head !== base.commit) {
    const range = { base: base.commit, head };
    const keep = (): Promise<void> =>
      keepObjects(git, repository, run, range, folder, () => onStep?.("kept"));
    await keep();
    kept = await switchTree({
      repository,
      git,
      from: base,
      to: { commit: head, tree },
      changes,
      folder: options.switchFolder,
      reason: `bring back ${patches.length} commits`,
      at: options.at,
      ...(onStep === undefined ? {} : { onStep }),
    });
    // Nothing of git's takes away what is kept; whoever did by hand finds it put back.
    const isThere = await withLook(() => isConnected(git, repository, base.commit, head));
    if (!isThere) await keep();
  }
  return { base: base.commit, head, tree, commits, changes, kept };
}

/**
 * Put the objects of a run's commits into the user's repository once more, where its branch is at
 * them and they are not there.
 *
 * @throws ERR_BRING_BACK_MISMATCH, ERR_REPOSITORY_DAMAGED
 */
export async function mendObjects(
  options: Omit<BringBackOptions, "onStep" | "at" | "switchFolder">,
): Promise<void> {
  const { repository, base, run, folder } = options;
  const { git, commits } = await stagePatches(options);
  const head = commits.at(-1);
  if (head === undefined || (await isConnected(git, repository, base.commit, head))) return;
  await keepObjects(git, repository, run, { base: base.commit, head }, folder);
}

/**
 * `git am` of every patch on the base, in a repository that knows nothing but the user's objects.
 *
 * @throws ERR_BRING_BACK_MISMATCH
 */
export async function stagePatches(options: StageOptions): Promise<Staged> {
  // A git that is killed amid leaves half of a patch, which no patch applies to.
  return beginAgain(
    () => stageAnew(options),
    (error) => {
      const cause = error instanceof Error ? error.cause : undefined;
      return [error, cause].some((one) => isSovereignError(one, "ERR_GIT_FAILED"));
    },
  );
}

type StageOptions = Omit<BringBackOptions, "onStep" | "at" | "switchFolder" | "run">;
type Staged = { readonly git: Git; readonly commits: readonly string[] };

/** In a folder that is emptied first. */
async function stageAnew(options: StageOptions): Promise<Staged> {
  const { repository, base, patches, folder } = options;
  const staging = join(folder, "staging");
  rmSync(staging, { recursive: true, force: true });
  const workTree = join(staging, "tree");
  makeOwnFolder(workTree);
  const bare = await createPrivateRepository(join(staging, "git"), repository, base.commit);
  const git = bare.at({ workTree });
  await checkOutTouched(git, base.commit, patches);
  const commits: string[] = [];
  for (const one of patches) commits.push(await applyPatch(git, one));
  return { git, commits };
}

const AM = [
  ...["am", "--quiet", "--keep", "--keep-cr", "--no-scissors", "--no-3way"],
  ...["--committer-date-is-author-date", "--empty=keep", "--whitespace=nowarn"],
];

async function applyPatch(git: Git, one: JudgedPatch): Promise<string> {
  const found = sha256Hex(one.patch);
  if (found !== one.sha256) throw mismatch(one, "the patch", one.sha256, found);
  try {
    await git.bytes(AM, { input: one.patch });
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : "unknown";
    throw new SovereignError(
      "ERR_BRING_BACK_MISMATCH",
      `The patch of ${one.stepId} does not apply where it was made: ${said}`,
      { step: one.stepId },
      cause,
    );
  }
  const [commit = "", tree = ""] = (
    await git.text(["rev-parse", "HEAD^{commit}", "HEAD^{tree}"])
  ).split("\n");
  if (tree !== one.tree) throw mismatch(one, "the tree", one.tree, tree);
  return commit;
}

/**
 * Check out the files that the patches name, and no others: the rest of the base is marked as not
 * to be looked at, so that the cost is that of the change and not of the repository.
 */
async function checkOutTouched(
  git: Git,
  base: string,
  patches: readonly JudgedPatch[],
): Promise<void> {
  await git.bytes(["read-tree", base]);
  // A name may be no UTF-8: as bytes it is the same on its way back.
  const listed = Buffer.from(await git.bytes(["ls-files", "-z"])).toString("latin1");
  const touched = await touchedPaths(git, patches);
  const all = listed.split("\0").filter((path) => path !== "");
  const others = all.filter((path) => !touched.has(path));
  await git.bytes(["update-index", "-z", "--skip-worktree", "--stdin"], {
    input: Buffer.from(others.join("\0"), "latin1"),
  });
  await git.bytes(["checkout-index", "--force", "-z", "--stdin", "--quiet"], {
    input: Buffer.from(all.filter((path) => touched.has(path)).join("\0"), "latin1"),
  });
  await git.status(["update-index", "-q", "--refresh"], { answers: [1] });
}

/** As `git apply` reads the patches, which is what will be applied. Each character is one byte. */
async function touchedPaths(git: Git, patches: readonly JudgedPatch[]): Promise<Set<string>> {
  const touched = new Set<string>();
  for (const { patch } of patches) {
    const args = ["apply", "--numstat", "-z", "--allow-empty"];
    const said = Buffer.from(await git.bytes(args, { input: patch })).toString("latin1");
    for (const row of said.split("\0")) {
      const path = /^[\d-]+\t[\d-]+\t([^]*)$/.exec(row)?.[1];
      if (path !== undefined) touched.add(path);
    }
  }
  return touched;
}

function mismatch(one: JudgedPatch, what: string, expected: string, found: string): SovereignError {
  return new SovereignError(
    "ERR_BRING_BACK_MISMATCH",
    `${one.stepId}: ${what} should be ${expected}; it is ${found}. Nothing was brought back.`,
    { step: one.stepId, expected, found },
  );
}

/** The digest that stands for what differs, in the ledger. */
export function changesDigest(changes: readonly Change[]): string {
  return digestOf(changes.map((one) => ({ ...one })));
}
