import { existsSync, lstatSync, mkdirSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { constants, cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { quoted, SovereignError, type Toolset } from "@sovereign/core";
import { copiesIn, inTree, type Mount, requireUnchanged } from "../sandbox/index.ts";

/** What commands see besides the system and the work tree, as the run's plan says it. */
export interface CommandTools {
  readonly readOnly: readonly Mount[];
  readonly writable: readonly Mount[];
  readonly path: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const NONE: CommandTools = { readOnly: [], writable: [], path: [], env: {} };

/**
 * What is seen inside: policy's tools, or what was always there where it names none, the libraries at
 * the root.
 * @param modules the user's installed libraries; null for none
 */
export function seenTools(tools: CommandTools | null, modules: string | null): CommandTools {
  if (tools !== null) return tools;
  if (modules === null || !existsSync(modules)) return NONE;
  return { ...NONE, readOnly: [{ source: modules, target: "/node_modules" }] };
}

/** What lies over each `.git`: a program can neither make a repository at the tree's root nor find one. */
export function gitCovers(root: string, noGit: string, { writable }: CommandTools): Mount[] {
  const trees = writable.filter(({ source }) => source === root);
  const covered = ["/workspace", ...trees.map(({ target }) => target)];
  return covered.map((at) => ({ source: noGit, target: `${at}/.git` }));
}

export function searchPath(tools: CommandTools | null): string {
  if (tools === null) return "/runtime:/usr/bin:/bin";
  return [...tools.path, "/runtime", "/usr/local/bin", "/usr/bin", "/bin"].join(":");
}

/** The tools of one process of a run: looked at once, copied once. */
export class ToolMounts {
  readonly #toolset: Toolset;
  readonly #root: string;
  readonly #folder: string;
  #ready: Promise<CommandTools> | null = null;

  /**
   * @param root of the run's tree
   * @param folder where copies are made
   */
  constructor(toolset: Toolset, root: string, folder: string) {
    this.#toolset = toolset;
    this.#root = root;
    this.#folder = folder;
  }

  /** Where what commands write lies, besides their tree. */
  get copies(): string {
    return copiesIn(this.#folder);
  }

  /**
   * Make them ready, the first time that they are asked for.
   * @throws ERR_MOUNT_REFUSED where something is not what it was when the run began
   */
  prepare(): Promise<CommandTools> {
    this.#ready ??= this.#make();
    return this.#ready;
  }

  async #make(): Promise<CommandTools> {
    const { mounts, path, env, tree_at } = this.#toolset;
    await requireUnchanged(this.#toolset);
    await mkdir(this.copies, { recursive: true, mode: 0o700 });
    const writable: Mount[] = tree_at === null ? [] : [{ source: this.#root, target: tree_at }];
    const readOnly: Mount[] = [];
    for (const [number, { path: source, at: target, access }] of mounts.entries()) {
      if (access === "read-only") readOnly.push({ source, target });
      else {
        const copy = join(this.copies, String(number));
        await copyAll(source, copy);
        writable.push({ source: copy, target });
      }
    }
    return { readOnly, writable, path, env };
  }

  /**
   * Have something to mount over at each place in the run's tree.
   *
   * @returns takes it away again, when nothing of the command lives
   * @throws ERR_MOUNT_REFUSED where a command left a link or another kind of thing on the way: the
   *   mount would lie elsewhere
   */
  cover(): () => void {
    const made: { readonly path: string; readonly isFolder: boolean }[] = [];
    const uncover = (): void => {
      for (const one of made.reverse()) remove(one);
    };
    try {
      for (const { path, isFolder } of inTree(this.#toolset)) {
        const names = path.split("/");
        for (const at of names.keys()) {
          const place = join(this.#root, ...names.slice(0, at + 1));
          const wantsFolder = at < names.length - 1 || isFolder;
          if (have(place, wantsFolder)) made.push({ path: place, isFolder: wantsFolder });
        }
      }
    } catch (error) {
      uncover();
      throw error;
    }
    return uncover;
  }
}

/** @returns true where it was made */
function have(path: string, isFolder: boolean): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) {
    if (isFolder) mkdirSync(path, { mode: 0o755 });
    else writeFileSync(path, "", { flag: "wx", mode: 0o644 });
    return true;
  }
  if (isFolder ? found.isDirectory() : found.isFile()) return false;
  const what = isFolder ? "folder" : "file";
  const text = `Expected a plain ${what} at ${quoted(path)}, where a tool is to be mounted: it is something else.`;
  throw new SovereignError("ERR_MOUNT_REFUSED", text);
}

function remove({ path, isFolder }: { readonly path: string; readonly isFolder: boolean }): void {
  try {
    if (isFolder) rmdirSync(path);
    else if (lstatSync(path).size === 0) unlinkSync(path);
  } catch {
    // A command put something there: the judgement of the tree sees it.
  }
}

/** Links as they are; shares the blocks where the file system can. */
async function copyAll(source: string, copy: string): Promise<void> {
  if (existsSync(copy)) return;
  await cp(source, copy, {
    recursive: true,
    verbatimSymlinks: true,
    preserveTimestamps: true,
    mode: constants.COPYFILE_FICLONE,
  });
}
