import { copyFileSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { isSovereignError, quoted, SovereignError } from "@sovereign/core";
import { judgePatchSizes } from "./git/index.ts";
import { removeContent } from "./repository/tree-content.ts";
import type { Workspace } from "./workspace.ts";

/** What a patch may ask git for besides hunks of its one file, and may not ask here. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [
    /(?:^|\n)(?:copy|rename) (?:from|to|old|new) /,
    "it copies or renames a file, and it may speak of its own path alone",
  ],
  [
    /(?:^|\n)(?:(?:old|new) mode|(?:new|deleted) file mode|index \S+) 160000/,
    "it speaks of a repository inside the repository",
  ],
];

/**
 * Apply a unified diff of one file. Git sees that file alone, in a folder apart: whatever the patch
 * says, there is nothing else that it could read or change.
 *
 * @param path resolved, and held against the disk
 * @param patch untrusted
 * @throws ERR_CHANGE_REFUSED where it asks for more, ERR_CHANGE_MISFIT where it does not apply, and as {@link judgePatchSizes}
 */
export async function patchFile(
  workspace: Workspace,
  path: string,
  patch: Uint8Array,
): Promise<void> {
  const head = Buffer.from(patch).toString("latin1");
  const asks = REFUSED.find(([form]) => form.test(head));
  if (asks !== undefined) throw refused(path, asks[1]);
  judgePatchSizes(patch, workspace.limits);
  const { root, folder } = workspace;
  const apart = join(folder, "patch");
  rmSync(apart, { recursive: true, force: true });
  try {
    mkdirSync(dirname(join(apart, path)), { recursive: true });
    const isThere = existsSync(join(root, path));
    if (isThere) copyFileSync(join(root, path), join(apart, path));
    await applyApart(workspace, apart, path, patch);
    takeBack(root, apart, path, isThere);
  } finally {
    rmSync(apart, { recursive: true, force: true });
  }
}

async function applyApart(
  workspace: Workspace,
  apart: string,
  path: string,
  input: Uint8Array,
): Promise<void> {
  const git = workspace.git.at({ workTree: apart });
  const apply = async (...options: string[]): Promise<string> => {
    try {
      return await git.text(["apply", ...options], { input });
    } catch (cause) {
      throw misfit(path, cause);
    }
  };
  const said = await apply("--numstat", "-z");
  const touched = said.split("\0").flatMap((row) => row.split("\t")[2] ?? []);
  if (touched.length !== 1 || touched[0] !== path) {
    throw refused(path, `it touches ${touched.slice(0, 5).map(quoted).join(", ")}`);
  }
  await apply("--whitespace=nowarn");
}

function takeBack(root: string, apart: string, path: string, wasThere: boolean): void {
  const made = lstatSync(join(apart, path), { throwIfNoEntry: false });
  if (made === undefined && wasThere) removeContent(root, path);
  else if (made?.isFile() === true || made?.isSymbolicLink() === true) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    renameSync(join(apart, path), join(root, path));
  } else throw refused(path, "it leaves no file there");
}

function refused(path: string, why: string): SovereignError {
  const text = `The patch of ${quoted(path)} is refused: ${why}.`;
  return new SovereignError("ERR_CHANGE_REFUSED", text);
}

/** What git says of it: its own limits, or a git that is not there, are no fault of the patch. */
function misfit(path: string, cause: unknown): unknown {
  if (!isSovereignError(cause, "ERR_GIT_FAILED")) return cause;
  if (/invalid path/.test(cause.message)) return refused(path, "it leads out of the tree");
  const text = `The patch does not fit ${quoted(path)}: ${cause.message}`;
  return new SovereignError("ERR_CHANGE_MISFIT", text, {}, cause);
}
