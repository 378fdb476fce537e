import { existsSync, lstatSync, realpathSync, type Stats } from "node:fs";
import { dirname, join } from "node:path";
import { quoted, SovereignError } from "@sovereign/core";

/** Where a repository keeps its own policy, below the work tree's root. */
export const POLICY_PLACE = ".sovereign/policy.yaml";

/**
 * The policy that holds: the file that is named, else the repository's own. No step may change the
 * latter (`docs/spec/host-run-files.md`); what else is in the repository could be anything, so a
 * link in its place is not followed.
 *
 * @param folder a folder in the repository
 * @param named the file that the user named; undefined for none
 * @throws ERR_POLICY_MISSING with what to type
 */
export function findPolicy(folder: string, named: string | undefined): string {
  if (named !== undefined) return named;
  const root = findWorkTree(folder);
  if (root === null) {
    throw missing(`${quoted(folder)} is in no git repository. Name a policy: --policy FILE`);
  }
  const path = join(root, POLICY_PLACE);
  const parent = statOf(dirname(path));
  const found = parent === null ? null : statOf(path);
  if (found === null) {
    throw missing(
      `No policy is named, and ${quoted(path)} is not there. Type: sovereign init, which writes one; or name one: --policy FILE`,
    );
  }
  const isOurs = found.uid === process.geteuid?.();
  if (parent?.isDirectory() !== true || !found.isFile() || !isOurs) {
    throw missing(
      `Expected ${quoted(path)} to be a plain file of yours, in a plain folder: it is something else. Look at it, or name a policy: --policy FILE`,
    );
  }
  return path;
}

/** The root of the work tree that a folder is in, without links; null for none. */
export function findWorkTree(folder: string): string | null {
  let at: string;
  try {
    at = realpathSync(folder);
  } catch {
    return null;
  }
  while (!existsSync(join(at, ".git"))) {
    if (dirname(at) === at) return null;
    at = dirname(at);
  }
  return at;
}

function statOf(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}

function missing(text: string): SovereignError {
  return new SovereignError("ERR_POLICY_MISSING", text);
}
