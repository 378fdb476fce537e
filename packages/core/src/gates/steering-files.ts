import type { Dialect, PolicyDecision } from "../formats/index.ts";
import { foldNames } from "./folded-names.ts";
import {
  FIFTH_HOST_RUN_NAMES,
  FOURTH_HOST_RUN_NAMES,
  HOST_RUN_NAMES,
  REPOSITORY_NAMES,
  SECOND_HOST_RUN_NAMES,
  SIXTH_HOST_RUN_NAMES,
  THIRD_HOST_RUN_NAMES,
} from "./host-run/index.ts";
import type { NameTable } from "./host-run/names.ts";

/**
 * The rule that stands in every policy: a file that tools on other machines run is changed with the
 * policy's express leave alone. Where there is leave, the decision names the pattern that gave it,
 * `ci:<pattern>`. The names are older than the table, which began with the files of CI hosts.
 */
export const CI_FILES_RULE = "ci_files";

/** True for a denial by that rule, which has a code of its own. */
export function isCiDenial({ effect, rules }: PolicyDecision): boolean {
  return effect === "deny" && rules.includes(CI_FILES_RULE);
}

/**
 * Names that git itself obeys: attributes run filters, modules fetch, ignore rules hide files. No
 * step changes one, whatever policy says.
 *
 * @param path names joined by `/`, below the work tree's root
 */
export function isGitControl(path: string): boolean {
  return foldNames(path).some((name) => name.startsWith(".git") && !NOT_GITS.has(name));
}

/** They begin like git's own, and are nothing to git; some of them are read by hosts. */
const NOT_GITS: ReadonlySet<string> = new Set([
  ".gitea",
  ".gitkeep",
  ".github",
  ".gitlab",
  ".gitlab-ci.yaml",
  ".gitlab-ci.yml",
]);

/**
 * True for a file that a host's tools, or a developer's own, find by its name and run or obey:
 * whoever may write it runs code outside of every sandbox. At any depth, because monorepos and
 * exported subfolders have theirs there. The folder itself counts too: a link could stand for it.
 *
 * What such a file starts in its turn, like a script that a workflow names, is not known here.
 *
 * @param path names joined by `/`, below the work tree's root
 * @see docs/spec/host-run-files.md
 */
export function isCiFile(path: string): boolean {
  return HOST_RUN_NAMES.find(path) !== null;
}

/**
 * Whose file it is, by name; null for nobody's.
 *
 * @param isLink it stands for what it leads to
 * @param dialect by whose table
 */
export function hostRunTool(path: string, isLink: boolean, dialect: Dialect): string | null {
  return TABLES[dialect].find(path, isLink)?.tool ?? null;
}

const TABLES: Readonly<Record<Dialect, NameTable>> = {
  2: SECOND_HOST_RUN_NAMES,
  3: THIRD_HOST_RUN_NAMES,
  4: FOURTH_HOST_RUN_NAMES,
  5: FIFTH_HOST_RUN_NAMES,
  6: SIXTH_HOST_RUN_NAMES,
  7: HOST_RUN_NAMES,
};

/** Whose repository it would make or change; null for nobody's. Git's are judged by the tree. */
export function repositoryTool(path: string, isLink: boolean): string | null {
  return REPOSITORY_NAMES.find(path, isLink)?.tool ?? null;
}
