import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import {
  type Action,
  type ActionContext,
  isCiDenial,
  isSovereignError,
  quoted,
  SovereignError,
} from "@sovereign/core";
import type { PolicyDecider } from "../kernel/index.ts";
import type { CompiledPolicy } from "../policy/index.ts";
import {
  applyChanges,
  beginAgain,
  type Change,
  type ChangeLimits,
  checkOut,
  createPrivateRepository,
  Git,
  type Head,
  judgeChanges,
  judgePaths,
  readChanges,
  readTreeNames,
  scanTree,
  stageAll,
  stageNamed,
  type TreeNames,
  type UserRepository,
} from "./git/index.ts";
import { HOLDINGS } from "../sandbox/index.ts";
import { makeOwnFolder } from "../system/index.ts";
import { removeHostile } from "./remove-hostile.ts";

const MEBIBYTE = 1024 * 1024;
type Limits = NonNullable<CompiledPolicy["limits"]>;
/** Where a policy is silent; one that is written in Cedar always is. */
const DEFAULT_LIMITS: Pick<Limits, "max_file_size_mb" | "max_files" | "timeout_seconds"> &
  Partial<Limits> = { max_file_size_mb: 10, max_files: 100, timeout_seconds: 1800 };
const TOTAL_MB = 1024;
const MEMORY_MB = 2048;
const PROCESSES = 256;
const OUTPUT_MB = 4;

/** The policy's limits in the units of those who hold to them. */
export interface WorkLimits extends ChangeLimits {
  readonly timeoutMs: number;
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  readonly processes: number;
  readonly outputBytes: number;
  readonly temporaryFiles: number;
  readonly kernelBytes: number;
}

export function workLimits(policy: CompiledPolicy): WorkLimits {
  const limits = policy.limits ?? DEFAULT_LIMITS;
  const fileBytesMax = limits.max_file_size_mb * MEBIBYTE;
  return {
    filesMax: limits.max_files,
    fileBytesMax,
    totalBytesMax: Math.min(
      limits.max_files * fileBytesMax,
      (limits.max_total_mb ?? TOTAL_MB) * MEBIBYTE,
    ),
    timeoutMs: limits.timeout_seconds * 1000,
    cpuSeconds: limits.max_cpu_seconds ?? limits.timeout_seconds,
    memoryBytes: (limits.max_memory_mb ?? MEMORY_MB) * MEBIBYTE,
    processes: limits.max_processes ?? PROCESSES,
    outputBytes: (limits.max_output_mb ?? OUTPUT_MB) * MEBIBYTE,
    temporaryFiles: limits.max_temporary_files ?? HOLDINGS.temporaryFiles.usual,
    kernelBytes:
      limits.max_kernel_memory_mb === undefined
        ? HOLDINGS.kernelBytes.usual
        : limits.max_kernel_memory_mb * MEBIBYTE,
  };
}

/**
 * Where a run's steps work: a tree of its own, and a repository of ours beside it that the sandbox
 * never sees.
 */
export class Workspace {
  readonly git: Git;
  readonly root: string;
  /** Where all of it lies; a scratch folder of this process alone. */
  readonly folder: string;
  /** An empty folder: what a command sees as `.git`. */
  readonly noGit: string;
  readonly #policy: PolicyDecider;
  readonly limits: WorkLimits;
  /** The tree id that the files stand for; null until they were written. */
  #at: string | null = null;
  /** Every path of one tree, kept from one operation to the next. */
  #names: { readonly tree: string; readonly names: TreeNames } | null = null;

  private constructor(folder: string, policy: PolicyDecider, limits: WorkLimits) {
    this.folder = folder;
    this.root = join(folder, "tree");
    this.noGit = join(folder, "no-git");
    this.git = new Git({ gitDir: join(folder, "git"), workTree: this.root, own: true });
    this.#policy = policy;
    this.limits = limits;
  }

  /**
   * Make it. What an earlier process of the same run left may still be written to by a git that
   * outlived it: its objects are borrowed, and nothing else of it is used again.
   */
  static async open(
    folder: string,
    repository: UserRepository,
    base: Head,
    policy: PolicyDecider,
    limits: WorkLimits,
  ): Promise<Workspace> {
    makeOwnFolder(folder);
    const earlier = readdirSync(folder).filter((name) => /^attempt-\d+$/.test(name));
    const own = join(folder, `attempt-${earlier.length + 1}`);
    const space = new Workspace(own, policy, limits);
    makeOwnFolder(space.root);
    mkdirSync(space.noGit);
    // Whatever the umask: also where commands run as another user.
    chmodSync(space.noGit, 0o755);
    const lenders = earlier
      .map((name) => join(folder, name, "git", "objects"))
      .filter((objects) => existsSync(objects));
    await createPrivateRepository(space.git.place.gitDir, repository, base.commit, lenders);
    return space;
  }

  /**
   * Have the files of exactly this tree: what a killed attempt left of an operation is gone. What
   * ignore rules hide, such as build products, does not survive that.
   */
  async require(tree: string): Promise<void> {
    if (this.#at === tree) return;
    this.#at = null;
    // Half of the files would be in the way of a git that is started again.
    const again = (error: unknown): boolean => isSovereignError(error, "ERR_GIT_FAILED");
    await beginAgain(async () => {
      await removeHostile(this.root);
      makeOwnFolder(this.root);
      await checkOut(this.git, tree);
    }, again);
    this.#at = tree;
  }

  /**
   * Have the files that an earlier process of the same run left in its tree, when nothing of it runs any
   * more: whatever they are, they are judged as what an operation did.
   */
  async takeOver(root: string): Promise<void> {
    this.#at = null;
    await removeHostile(this.root);
    renameSync(root, this.root);
  }

  /** Have the folder there that the sandbox covers as `.git`: it can be neither made nor found. */
  coverGit(): void {
    mkdirSync(join(this.root, ".git"), { recursive: true, mode: 0o755 });
  }

  /** Take the mount point away again, when nothing of the command lives: no judged tree has it. */
  uncoverGit(): void {
    try {
      rmdirSync(join(this.root, ".git"));
    } catch {
      // It is no empty folder: the look at the tree's names refuses it.
    }
  }

  /**
   * Take over what an operation did, when nothing of it runs any more: look at every name, ask git
   * what changed, hold that to the limits and, path by path, to the policy.
   *
   * @param before the tree that the operation began with
   * @param named the paths that the request itself named: taken although ignored, and the only
   *   ones that may have changed; null for a command, whose changes policy judges
   * @throws ERR_CHANGE_REFUSED, ERR_CI_FILE_REFUSED, and what judgeWhole throws
   */
  async harvest(
    before: string,
    named: readonly string[] | null,
    context: ActionContext,
  ): Promise<Harvest> {
    // From here to the end the files stand for nothing that could be gone on with.
    this.#at = null;
    const names = await this.namesOf(before);
    const tree =
      named === null
        ? await stageAll(this.git, scanTree(this.root, submodulesOf(names)))
        : await stageNamed(this.git, named);
    const changes = await readChanges(this.git, before, tree);
    this.#names = { tree, names: applyChanges(names, changes) };
    const hostRun = judgeChanges(changes, this.limits, names);
    for (const change of changes) {
      if (named === null) this.#requireAllowed(change, context);
      else if (!named.includes(change.path))
        throw outside(change, "the operation does not name it");
    }
    this.#at = tree;
    return { tree, changes, hostRun };
  }

  /** Take nothing over of what a command did: the next one finds the files of the tree again. */
  leave(tree: string): Harvest {
    this.#at = null;
    return { tree, changes: [], hostRun: [] };
  }

  /**
   * Hold all of a run's changes together to the limits: many small steps are as much as a large one.
   * @throws ERR_CHANGE_REFUSED, ERR_CHANGE_FILES, ERR_CHANGE_FILE_SIZE, ERR_CHANGE_TOTAL
   */
  async judgeWhole(base: string, tree: string): Promise<void> {
    const changes = await readChanges(this.git, base, tree);
    judgeChanges(changes, this.limits, await this.namesOf(tree));
  }

  /**
   * Hold what a step changed against the files that its commit names for policy.
   * @throws ERR_CI_FILE_REFUSED for one that tools run and that the commit does not name
   */
  async requireNamed(parent: string, tree: string, named: readonly string[]): Promise<void> {
    const changes = await readChanges(this.git, parent, tree);
    const hostRun = judgeChanges(changes, this.limits, await this.namesOf(tree));
    const other = hostRun.find((path) => !named.includes(path));
    if (other === undefined) return;
    const why = "a tool on another machine runs this file, and the policy did not allow the change";
    const text = `The change of ${quoted(other)} is refused: ${why} (allowlist.host_run_paths).`;
    throw new SovereignError("ERR_CI_FILE_REFUSED", text);
  }

  /**
   * Look at the one path that an operation names before anything is written: what lies in a
   * submodule or would be a repository's does not show in the tree afterwards.
   * @throws ERR_CHANGE_REFUSED
   */
  async requirePlain(before: string, path: string): Promise<void> {
    const names = await this.namesOf(before);
    const known = names.get(path);
    if (known === undefined) names.set(path, { kind: "file", target: null });
    try {
      judgePaths(names, [path]);
    } finally {
      if (known === undefined) names.delete(path);
    }
  }

  /** Every path of a tree. The map is ours: whoever changes it says so. */
  async namesOf(tree: string): Promise<TreeNames> {
    const known = this.#names;
    if (known?.tree === tree) return known.names;
    const names = await readTreeNames(this.git, tree);
    this.#names = { tree, names };
    return names;
  }

  /**
   * Ask policy about what an operation does besides what it was authorised for.
   * @throws ERR_CI_FILE_REFUSED, ERR_CHANGE_REFUSED
   */
  requireDecided(type: string, path: string, context: ActionContext): void {
    const action: Action = { type, resource: path, params: {} };
    const decision = this.#policy.decide(action, context);
    if (decision.effect === "allow") return;
    const code = isCiDenial(decision) ? "ERR_CI_FILE_REFUSED" : "ERR_CHANGE_REFUSED";
    const text = `The change of ${quoted(path)} is refused: ${decision.reasons.join("; ")}.`;
    throw new SovereignError(code, text, { path: path.slice(0, 200) });
  }

  /** A command changed it: the same is asked as if an operation wanted to. */
  #requireAllowed(change: Change, context: ActionContext): void {
    const types = {
      added: ["file.write"],
      modified: ["file.update", "file.write"],
      deleted: ["file.delete"],
    };
    const decisions = types[change.status].map((type) => {
      const action: Action = { type, resource: change.path, params: {} };
      return this.#policy.decide(action, context);
    });
    const ci = decisions.find(isCiDenial);
    if (ci !== undefined) {
      const text = `The change is refused: ${ci.reasons.join("; ")}.`;
      throw new SovereignError("ERR_CI_FILE_REFUSED", text, { path: change.path.slice(0, 200) });
    }
    if (decisions.some((one) => one.effect === "allow")) return;
    // Of the same path and the same policy the reasons say what came nearest.
    const why = decisions[0]?.reasons.join("; ") ?? "";
    const text = `policy does not allow that a step has it ${change.status}`;
    throw outside(change, why === "" ? text : `${text}: ${why}`);
  }
}

/** What an operation did: the tree after it, and of its changes those that tools run. */
export interface Harvest {
  readonly tree: string;
  readonly changes: readonly Change[];
  readonly hostRun: readonly string[];
}

function submodulesOf(names: TreeNames): ReadonlySet<string> {
  return new Set([...names].filter(([, { kind }]) => kind === "gitlink").map(([path]) => path));
}

function outside(change: Change, why: string): SovereignError {
  const shown = quoted(change.path);
  const text = `The change of ${shown} is refused: ${why}.`;
  return new SovereignError("ERR_CHANGE_REFUSED", text, { path: change.path.slice(0, 200) });
}
