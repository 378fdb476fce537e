import { createHash } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type EveryFile, lookAtFiles, proveEveryFile } from "./work-tree-digest.ts";
import {
  createPrivateRepository,
  damaged,
  type Git,
  isConnected,
  readChanges,
  readHead,
  type UserRepository,
} from "../git/index.ts";
import { copyIndex } from "./index-copy.ts";
import { contentAt } from "./tree-content.ts";
import type { Kept } from "./tree-moves.ts";
import { keptBy } from "./switch-journal.ts";
import { type SwitchStep, switchTree } from "./tree-switch.ts";
import { replaceOwnFile, requireOwnFile } from "../../system/index.ts";

export interface RollbackOptions {
  readonly repository: UserRepository;
  /** Where the run began, and where it brought the branch. */
  readonly base: string;
  readonly head: string;
  readonly ref: string | null;
  readonly folder: string;
  /** Seconds since 1970, for the reflog. */
  readonly at: number;
  readonly onStep?: (step: SwitchStep) => void;
  /** True where an earlier attempt moved the branch and could not say so: it is proved alone. */
  readonly moved?: boolean;
}

/** What was found after the way back, each part looked at again. */
export interface RolledBack {
  readonly before_head: string;
  readonly after_head: string;
  readonly base_commit: string;
  readonly tree: string;
  readonly files_changed_count: number;
  /** Of the files that the run had changed: how many are again what the base says. */
  readonly checksums_verified: number;
  readonly checksums_match: boolean;
  readonly success: boolean;
  /** SHA-256 over `git status` before and after: edits elsewhere are as they were. */
  readonly status_before: string;
  readonly status_after: string;
  /** Every file of the base's tree, by content. */
  readonly every_file: EveryFile;
  readonly files: readonly { readonly path: string; readonly sha256: string | null }[];
  /** What other programs wrote while files were moved, and is nowhere else. */
  readonly kept: readonly Kept[];
}

/**
 * Move the user's branch back to where the run began. Edits elsewhere stay; an edit in the way, or a
 * commit on top, refuses all of it.
 *
 * @throws ERR_REPOSITORY_MOVED when the branch is not where the run brought it; as switchTree
 */
export async function rollBack(options: RollbackOptions): Promise<RolledBack> {
  const { repository, base, head, ref, folder, moved = false } = options;
  // Of this process alone: a git that outlived a killed one may still write to its own.
  const own = join(folder, `git-${process.pid}`);
  const git = await createPrivateRepository(own, repository, head);
  const [from = "", to = ""] = await Promise.all(
    [head, base].map((commit) => git.text(["rev-parse", "--verify", `${commit}^{tree}`])),
  );
  const changes = await readChanges(git, from, to);
  const before = join(folder, "status.before");
  const filesBefore = join(folder, "files.before");
  if (!moved) {
    const looked = await lookAtFiles(git, repository.root, to);
    replaceOwnFile(filesBefore, looked);
    const status = await statusDigest(git, repository, head, folder);
    replaceOwnFile(before, status);
    await switchTree({
      repository,
      git,
      from: { commit: head, tree: from, ref },
      to: { commit: base, tree: to },
      changes,
      folder: join(folder, "switch"),
      reason: `roll back to ${base.slice(0, 12)}`,
      at: options.at,
      ...(options.onStep === undefined ? {} : { onStep: options.onStep }),
    });
  }
  const status_before = requireOwnFile(before).toString("utf8");
  const found = await readHead(repository);
  const restored = changes.map(({ path, status }) => ({
    path,
    wanted: status === "deleted" ? null : contentAt(join(folder, "switch", "after"), path).sha256,
    sha256: contentAt(repository.root, path).sha256,
  }));
  const matching = restored.filter((one) => one.wanted === one.sha256);
  const checksums_match = matching.length === restored.length;
  const looked = existsSync(filesBefore) ? requireOwnFile(filesBefore).toString("utf8") : "";
  const every_file = await proveEveryFile(
    git,
    repository.root,
    to,
    looked,
    new Set(matching.map((one) => one.path)),
  );
  const status_after = await statusDigest(git, repository, base, folder);
  if (!(await isConnected(git, repository, base, base))) throw damaged(repository, base);
  return {
    before_head: head,
    after_head: found.commit,
    base_commit: base,
    tree: found.tree,
    files_changed_count: changes.length,
    checksums_verified: matching.length,
    checksums_match,
    success:
      checksums_match &&
      every_file.kept_unchanged &&
      found.commit === base &&
      found.tree === to &&
      status_before === status_after,
    status_before,
    status_after,
    every_file,
    files: restored.map(({ path, sha256 }) => ({ path, sha256 })),
    kept: keptBy(join(folder, "switch")),
  };
}

/** What differs between the commit, the user's index and their files, untracked ones included. */
export async function statusDigest(
  git: Git,
  repository: UserRepository,
  head: string,
  folder: string,
): Promise<string> {
  const indexFile = join(folder, "index.status");
  copyIndex(repository, indexFile);
  try {
    await git.bytes(["update-ref", "--no-deref", "HEAD", head]);
    const settings = repository.lineEnds;
    const user = git.at({ workTree: repository.root, indexFile, settings });
    const said = await user.bytes([
      "status",
      ...["--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"],
      "--ignore-submodules=all",
    ]);
    return createHash("sha256").update(said).digest("hex");
  } finally {
    rmSync(indexFile, { force: true });
  }
}
