import { withoutEnd } from "../text/index.ts";

/**
 * The names that steer, as the first dialect of decisions knew them. Evidence that was made under
 * it is judged by it; nothing that runs now is. Never changed again: see `host-run-files.ts`.
 */

/**
 * Names that git itself obeys: attributes run filters, modules fetch, ignore rules hide files. No
 * step changes one, whatever policy says.
 *
 * @param path names joined by `/`, below the work tree's root
 */
export function wasGitControl(path: string): boolean {
  return namesOf(path).some((name) => name.startsWith(".git") && !NOT_GITS.has(name));
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
 * True for a file that a host, or a developer's own machine, runs because it lies where it lies:
 * whoever may write it runs code outside of every sandbox. At any depth, because monorepos and
 * exported subfolders have theirs there. The folder itself counts too: a link could stand for it.
 *
 * What such a file starts in its turn, like a script that a workflow names, is not known here.
 *
 * @param path names joined by `/`, below the work tree's root
 */
export function wasCiFile(path: string): boolean {
  const names = namesOf(path);
  return (
    names.some((name) => CI_FOLDERS.has(name) || name.startsWith(".woodpecker")) ||
    names.some((name, at) => isCiPart(name, names[at + 1])) ||
    CI_FILES.some((form) => form.test(names.at(-1) ?? ""))
  );
}

const CI_FOLDERS: ReadonlySet<string> = new Set([
  ...[".azure-pipelines", ".buildkite", ".builds", ".ci", ".circleci", ".drone", ".forgejo"],
  ...[".gitea", ".husky", ".semaphore", ".teamcity", ".tekton"],
]);

/** Of the folders that also hold what nobody runs, such as templates of issues. */
const CI_PARTS: Readonly<Record<string, ReadonlySet<string | undefined>>> = {
  ".github": new Set([undefined, "workflows", "actions"]),
  ".gitlab": new Set([undefined, "ci"]),
};

function isCiPart(name: string, next: string | undefined): boolean {
  return Object.hasOwn(CI_PARTS, name) && (CI_PARTS[name]?.has(next) ?? false);
}

/** By the file's own name. Hosts that can be told another name of it keep to these by habit. */
const CI_FILES: readonly RegExp[] = [
  /^\.gitlab-ci\.ya?ml$/,
  /^\.(travis|appveyor|build|cirrus|codeship|vela)\.(ya?ml|star)$/,
  /^(appveyor|azure-pipelines.*|bitbucket-pipelines|bitrise|buildspec.*)\.ya?ml$/,
  /^(cloudbuild|codemagic|wercker)\.(ya?ml|json)$/,
  /^\.drone\.(ya?ml|jsonnet|star)$/,
  /^(jenkinsfile(\..+)?|.+\.jenkinsfile)$/,
  /^\.pre-commit-(config|hooks)\.ya?ml$/,
  /^\.?lefthook(-local)?\.(ya?ml|toml|json)$/,
];

/** As another file system could spell them: letters folded, what it ignores left out. */
function namesOf(path: string): string[] {
  return path.split("/").map((name) => {
    const seen = name
      .normalize("NFKC")
      .replaceAll(/[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g, "");
    return withoutEnd(seen.toLowerCase(), ". ");
  });
}
