import { type Stats, existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { isSovereignError, quoted, SovereignError } from "@sovereign/core";
import { Git, readUserSetting } from "./git.ts";
import { oddGitFile } from "./odd-files.ts";
import { misledName } from "./own-places.ts";
import { readPlainText } from "./plain-files.ts";
import { barredFolder, unreadable, unwritable } from "./rights.ts";

/** What we know of the user's repository, read without running anything that is configured in it. */
export interface UserRepository {
  /** The work tree's root, without links. */
  readonly root: string;
  readonly gitDir: string;
  /** Where refs and objects are; another folder than `gitDir` in a linked work tree. */
  readonly commonDir: string;
  readonly objects: string;
  readonly objectFormat: "sha1" | "sha256";
  readonly index: string;
  /** How the user's git writes line ends into files, for git's own conversion: `NAME=VALUE`. */
  readonly lineEnds: readonly string[];
}

/** Where the user's branch is. */
export interface Head {
  /** The full name of the branch; null where HEAD is detached. */
  readonly ref: string | null;
  readonly commit: string;
  readonly tree: string;
}

/**
 * The repository of a run, at its recorded root. Where its work tree is gone, what stands around that place
 * is another repository, in which the run never was.
 *
 * @throws ERR_REPOSITORY_REFUSED where there is none any more; as {@link inspectRepository}
 */
export async function reopenRepository(root: string): Promise<UserRepository> {
  if (existsSync(join(root, ".git"))) return inspectRepository(root);
  throw refused(root, "the repository of the run is not there any more: put it back");
}

/**
 * Find and inspect the repository that a folder belongs to.
 *
 * @param folder a folder in the work tree
 * @param timeoutMs for each look at its configuration, which may include what never answers
 * @throws ERR_REPOSITORY_REFUSED with what to do about it
 */
export async function inspectRepository(
  folder: string,
  timeoutMs: number = LOOK_MS,
): Promise<UserRepository> {
  const root = findRoot(folder);
  // Git's own lists of paths would be read as others than were written.
  if (/[\u0000-\u001f\u007f"]/.test(root))
    throw refused(JSON.stringify(root), "its path has a quote or a control character: rename it");
  const dotGit = join(root, ".git");
  const gitDir = statSync(dotGit).isDirectory() ? dotGit : readGitFile(dotGit);
  requireOwner(gitDir);
  requireReadable(root, unreadable(gitDir));
  const odd = oddGitFile(gitDir);
  if (odd !== null) {
    throw refused(
      root,
      `${printable(odd)}, and git would wait for it: put a plain file in its place`,
    );
  }
  refuseReftable(root, gitDir);
  // Git tells paths by lines, and borrows objects by a file of lines.
  if (/[\r\n"]/.test(root + gitDir)) {
    throw refused(root, "its path has a quote or a line end: move it to one without");
  }
  const git = new Git({ gitDir });
  const asked = ["--is-bare-repository", "--show-object-format", "--git-common-dir"];
  const said = await git.text(["rev-parse", ...asked], { timeoutMs }).catch((cause: unknown) => {
    if (isSovereignError(cause, "ERR_GIT_LIMIT")) throw tooSlow(root, timeoutMs, cause);
    if (!isSovereignError(cause, "ERR_GIT_FAILED")) throw cause;
    throw refused(root, `git cannot read it: ${cause.message}`);
  });
  const [bare, format, common] = said.split("\n");
  if (bare === "true") throw refused(root, "it is bare: it has no work tree");
  const commonDir = resolve("/", common ?? gitDir);
  // A file in it names the folder, and another one where its objects are.
  for (const folder of [commonDir, join(commonDir, "objects")]) requireOwner(folder);
  requireReadable(root, unreadable(gitDir, commonDir));
  const repository: UserRepository = {
    root,
    gitDir: realpathSync(gitDir),
    commonDir: realpathSync(commonDir),
    objects: realpathSync(join(commonDir, "objects")),
    objectFormat: format === "sha256" ? "sha256" : "sha1",
    index: join(realpathSync(gitDir), "index"),
    lineEnds: await readLineEnds(gitDir, timeoutMs).catch((cause: unknown) => {
      throw isSovereignError(cause, "ERR_GIT_LIMIT") ? tooSlow(root, timeoutMs, cause) : cause;
    }),
  };
  const misled = misledName([repository.gitDir, repository.commonDir]);
  if (misled !== null) {
    const text = `${quoted(misled)} leads elsewhere, and git would write there: put a file or folder of its own in its place`;
    throw refused(root, text);
  }
  refuseUnfinished(repository);
  await refuseOddIndex(repository);
  return repository;
}

/** Git reads some small files; a FIFO that one of them includes keeps it waiting for ever. */
const LOOK_MS = 30_000;

function tooSlow(root: string, timeoutMs: number, cause: SovereignError): SovereignError {
  const text = `git did not read its configuration within ${timeoutMs} ms. See whether include.path in .git/config, or in yours, names a FIFO or a disk that does not answer`;
  return refused(root, `${text}: ${cause.message}`);
}

const TRUE = ["true", "yes", "on", "1"];

/** Values as git reads them; anything else that is set there is a line that git itself refuses. */
async function readLineEnds(gitDir: string, timeoutMs: number): Promise<string[]> {
  const auto = (await readUserSetting(gitDir, "core.autocrlf", timeoutMs)).toLowerCase();
  const eol = (await readUserSetting(gitDir, "core.eol", timeoutMs)).toLowerCase();
  const autocrlf = auto === "input" ? "input" : String(TRUE.includes(auto));
  return [`core.autocrlf=${autocrlf}`, `core.eol=${["lf", "crlf"].includes(eol) ? eol : "native"}`];
}

/** Refs that are no files, which we could not hold while a branch is moved. */
function refuseReftable(root: string, gitDir: string): void {
  const common = join(gitDir, "commondir");
  const shared = resolve(gitDir, readPlainText(common)?.trim() ?? "");
  if (![gitDir, shared].some((folder) => existsSync(join(folder, "reftable")))) return;
  throw refused(
    root,
    "its refs are in a reftable (extensions.refStorage): try git refs migrate --ref-format=files",
  );
}

/** A branch, or a detached HEAD, and the id in it: whether that is there is not asked. */
export interface RefState {
  readonly ref: string | null;
  /** Null where there is no commit yet. */
  readonly commit: string | null;
}

/** What HEAD names now, also where nothing is behind that name. */
export async function readRef(repository: UserRepository): Promise<RefState> {
  const git = new Git({ gitDir: repository.gitDir });
  const call = { answers: [1] };
  const ref = await git.text(["symbolic-ref", "-q", "HEAD"], call);
  const commit = await git.text(["rev-parse", "-q", "--verify", "HEAD"], call);
  return { ref: ref === "" ? null : ref, commit: commit === "" ? null : commit };
}

/**
 * Where the branch is now.
 * @throws ERR_REPOSITORY_REFUSED where there is no commit yet
 * @throws ERR_REPOSITORY_DAMAGED where the commit that it names is not there
 */
export async function readHead(repository: UserRepository): Promise<Head> {
  const git = new Git({ gitDir: repository.gitDir });
  const { ref, commit } = await readRef(repository);
  if (commit === null) {
    throw refused(
      repository.root,
      "its branch has no commit yet: make a first one, then try again",
    );
  }
  requireBranch(repository, ref);
  const call = { answers: [1, 128] };
  const look = ["-c", "core.commitGraph=false", "rev-parse", "-q", "--verify"];
  const found = await git.text([...look, `${commit}^{commit}`], call);
  const tree = found === "" ? "" : await git.text([...look, `${commit}^{tree}`], call);
  if (tree === "") throw damaged(repository, commit);
  await requireFetched(git, repository, found);
  return { ref, commit: found, tree };
}

/**
 * Only a branch has its file where we hold and move it. Other refs may belong to one work tree. A
 * symbolic one moves by another name than HEAD's, and HEAD is what we hold.
 */
function requireBranch({ root, gitDir }: UserRepository, ref: string | null): void {
  if (ref === null) return;
  if (!ref.startsWith("refs/heads/")) {
    throw refused(root, `HEAD names ${quoted(ref)}, which is no branch: try git switch BRANCH`);
  }
  if (ref.includes("\ufffd")) {
    throw refused(root, "the name of its branch is no UTF-8: try git branch -m NAME");
  }
  const head = readPlainText(join(gitDir, "HEAD"))?.trim() ?? "";
  if (!head.startsWith("ref:")) return;
  const named = head.slice("ref:".length).trimStart();
  if (named === ref) return;
  const short = ref.slice("refs/heads/".length);
  const text = `HEAD names ${quoted(named)}, which is another name of ${quoted(ref)}: try git switch ${short}`;
  throw refused(root, printable(text));
}

/** A partial clone may lack files of its commit, and nothing of ours fetches them. */
async function requireFetched(
  git: Git,
  { root, objects }: UserRepository,
  commit: string,
): Promise<void> {
  const packs = join(objects, "pack");
  if (!existsSync(packs) || !readdirSync(packs).some((name) => name.endsWith(".promisor"))) return;
  const look = ["-c", "core.commitGraph=false", "rev-list", "--objects", "--missing=print"];
  const said = await git.text([...look, "--no-walk", commit, "--"]);
  const missing = said.split("\n").filter((line) => line.startsWith("?")).length;
  if (missing === 0) return;
  const text = `it is a partial clone without ${missing} objects of its commit: type git archive HEAD > /dev/null in it, which fetches them`;
  throw refused(root, text);
}

/** Every path that a commit has, with the folders that they are in. */
export async function trackedPaths(
  { gitDir }: UserRepository,
  { tree }: Head,
): Promise<ReadonlySet<string>> {
  const git = new Git({ gitDir });
  const list = await git.bytes(["ls-tree", "-r", "-t", "-z", "--full-tree", "--name-only", tree]);
  return new Set(Buffer.from(list).toString("utf8").split("\0"));
}

function findRoot(folder: string): string {
  let at: string;
  try {
    at = realpathSync(folder);
  } catch {
    throw refused(folder, "there is no such folder");
  }
  for (;;) {
    requireReadable(at, barredFolder(at));
    if (existsSync(join(at, ".git"))) return at;
    // As git does: what has these is a repository, and not a part of the tree around it.
    if (["HEAD", "objects", "refs"].every((name) => existsSync(join(at, name)))) {
      throw refused(
        at,
        "it is a bare repository, or git's own folder of one: name a work tree, such as one that git worktree add makes",
      );
    }
    if (dirname(at) === at) throw refused(folder, "it is in no git repository: try git init");
    at = dirname(at);
  }
}

/** A linked work tree and a submodule have a file that names their folder. */
function readGitFile(path: string): string {
  const text = readPlainText(path, 8192) ?? "";
  const match = /^gitdir: (.+?)\n?$/.exec(text);
  const folder = match?.[1] === undefined ? null : resolve(dirname(path), match[1]);
  if (folder !== null && existsSync(folder)) return folder;
  throw refused(path, "expected a folder, or a file with one line `gitdir: …` that names one");
}

function requireReadable(root: string, why: string | null): void {
  if (why !== null) throw refused(root, why);
}

/** @throws ERR_REPOSITORY_REFUSED where its rights keep us from writing to it */
export function requireWritable({ root, gitDir, commonDir }: UserRepository): void {
  requireReadable(root, unwritable(gitDir, commonDir));
}

/**
 * What a work tree's rights forbid, found in the middle of a change that was taken back.
 * @returns the cause itself where it is anything else
 */
export function forbiddenWork({ root }: UserRepository, cause: unknown): unknown {
  const { code = "", message = "" } = cause as { code?: string; message?: string };
  const isThere = [root, "/proc/self/fd/"].some((name) => message.includes(`'${name}`));
  if (!isThere || !["EACCES", "EPERM", "EROFS"].includes(code)) return cause;
  const said = message.replaceAll(/\/proc\/self\/fd\/\d+/g, "…");
  const why = `its files may not be changed there (${said}). Branch, index and files are as they were. Give the rights back, as by chmod -R u+rwX "${root}", and run it again`;
  return refused(root, why);
}

/** Another user's repository may have been laid out for us to trip over. */
function requireOwner(gitDir: string): void {
  const owner: Stats = statSync(gitDir);
  const uid = process.geteuid?.();
  if (uid === undefined || owner.uid === uid) return;
  throw refused(gitDir, `it belongs to user ${owner.uid}, and we run as user ${uid}`);
}

const UNFINISHED: Readonly<Record<string, string>> = {
  MERGE_HEAD: "a merge",
  CHERRY_PICK_HEAD: "a cherry-pick",
  REVERT_HEAD: "a revert",
  "rebase-merge": "a rebase",
  "rebase-apply": "a rebase or git am",
  BISECT_LOG: "a bisection",
  sequencer: "a series of cherry-picks or reverts",
};

function refuseUnfinished({ root, gitDir }: UserRepository): void {
  for (const [name, what] of Object.entries(UNFINISHED)) {
    if (existsSync(join(gitDir, name))) throw refused(root, `${what} is unfinished: finish it`);
  }
}

/** Index features that keep part of the index elsewhere, or files out of the tree. */
async function refuseOddIndex({ root, gitDir, index }: UserRepository): Promise<void> {
  if (!existsSync(index)) return;
  const git = new Git({ gitDir, workTree: root });
  const flags = Buffer.from(await git.bytes(["ls-files", "-t", "-z"])).toString("latin1");
  if (/(^|\0)S /.test(flags))
    throw refused(root, "it is a sparse checkout: try git sparse-checkout disable");
  if (/(^|\0)M /.test(flags)) throw refused(root, "its index has unmerged paths: resolve them");
  if ((await git.text(["rev-parse", "--shared-index-path"])) !== "") {
    throw refused(root, "its index is split: try git update-index --no-split-index");
  }
}

/** One line, whatever a name has in it. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, "?").slice(0, 600);
}

function refused(where: string, why: string): SovereignError {
  return new SovereignError("ERR_REPOSITORY_REFUSED", `Cannot work on ${quoted(where)}: ${why}.`, {
    where,
  });
}

/** That a ref names what is not there. */
export function damaged(
  { objects }: UserRepository,
  commit: string,
  cause?: unknown,
): SovereignError {
  const text = `Commit ${commit} is not whole in ${objects}: other programs removed objects that it needs. If a run brought it, type: sovereign exec status RUN, which puts them back. Else look with: git fsck`;
  return new SovereignError("ERR_REPOSITORY_DAMAGED", text, { commit }, cause);
}
