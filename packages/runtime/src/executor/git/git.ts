import { existsSync, readdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ErrorCode, isSovereignError, SovereignError } from "@sovereign/core";
import { startToolRun } from "../../process/index.ts";
import { oddGitFile } from "./odd-files.ts";

/**
 * Where one git command works. Never found by git itself: a repository that lies in a work tree
 * would be found first, and its configuration runs programs.
 */
export interface GitPlace {
  readonly gitDir: string;
  readonly workTree?: string;
  readonly indexFile?: string;
  /** Where new objects go, when not into `gitDir`. */
  readonly objectDirectory?: string;
  /** Nobody else's git works there: what a killed one of ours holds is taken away. */
  readonly own?: true;
  /** Settings over ours, as `NAME=VALUE`: of line ends alone. */
  readonly settings?: readonly string[];
}

export interface GitCall {
  readonly input?: Uint8Array | string;
  readonly stdoutBytesMax?: number;
  readonly timeoutMs?: number;
  readonly memoryBytes?: number;
  /** Seconds since 1970 for author and committer. */
  readonly at?: number;
  /** Who wrote it, where that is not the executor. */
  readonly author?: { readonly name: string; readonly email: string };
  /** Told that git was killed, each time. */
  readonly onKilled?: () => void;
  /** Exit codes, besides 0, that are an answer and no failure. */
  readonly answers?: readonly number[];
}

const PATH = "/usr/local/bin:/usr/bin:/bin";
const STDOUT_BYTES_MAX = 256 * 1024 * 1024;
const TIMEOUT_MS = 10 * 60 * 1000;
const MEMORY_BYTES = 1024 * 1024 * 1024;
const TRIES = 3;

/** Who makes our commits, so that they are the same wherever a request runs. */
export const COMMITTER = {
  name: "Sovereign Executor",
  email: "executor@sovereign.invalid",
} as const;

/**
 * What makes a git command run a program, or read what somebody else wrote, is off. Given on the
 * command line, these win over every configuration file.
 */
const CONFIG = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.untrackedCache=false",
  "core.sparseCheckout=false",
  "core.commitGraph=false",
  "core.alternateRefsCommand=false",
  "core.sshCommand=false",
  "core.askPass=false",
  "credential.helper=",
  "gpg.program=false",
  "log.showSignature=false",
  "core.attributesFile=/dev/null",
  "core.excludesFile=/dev/null",
  "core.autocrlf=false",
  "core.safecrlf=false",
  "core.quotePath=true",
  "core.precomposeUnicode=false",
  "core.logAllRefUpdates=false",
  "core.pager=cat",
  "protocol.allow=never",
  "submodule.recurse=false",
  "diff.ignoreSubmodules=all",
  "diff.external=",
  "safe.bareRepository=explicit",
  "gc.auto=0",
  "maintenance.auto=false",
  "commit.gpgSign=false",
  "i18n.commitEncoding=UTF-8",
  "i18n.logOutputEncoding=UTF-8",
  "am.threeWay=false",
  "apply.whitespace=nowarn",
  "format.signature=",
].flatMap((setting) => ["-c", setting]);

/** Runs git, hardened, in one place. */
export class Git {
  readonly place: GitPlace;

  constructor(place: GitPlace) {
    this.place = place;
  }

  /** The same with another index, work tree or object folder. */
  at(more: Partial<GitPlace>): Git {
    return new Git({ ...this.place, ...more });
  }

  /**
   * @returns standard output
   * @throws ERR_GIT_MISSING, ERR_GIT_LIMIT, ERR_GIT_FAILED
   */
  async bytes(args: readonly string[], call: GitCall = {}): Promise<Uint8Array> {
    return (await this.#run(args, call)).stdout;
  }

  /** @returns standard output as text, without the last line's end */
  async text(args: readonly string[], call: GitCall = {}): Promise<string> {
    const bytes = await this.bytes(args, call);
    return Buffer.from(bytes).toString("utf8").replace(/\n$/, "");
  }

  /** @returns the exit code, of those that are answers */
  async status(args: readonly string[], call: GitCall): Promise<number> {
    return (await this.#run(args, call)).status;
  }

  async #run(
    args: readonly string[],
    call: GitCall,
  ): Promise<{ status: number; stdout: Uint8Array }> {
    const { input, at, answers, author, ...limits } = call;
    const settings = (this.place.settings ?? []).flatMap((setting) => ["-c", setting]);
    const end = await startToolRun("git", "git", [...CONFIG, ...settings, ...args], {
      stdoutBytesMax: STDOUT_BYTES_MAX,
      timeoutMs: TIMEOUT_MS,
      memoryBytes: MEMORY_BYTES,
      ...limits,
      onKilled: () => {
        removeOwnLocks(this.place);
        limits.onKilled?.();
      },
      env: { ...environmentOf(this.place, at ?? 0), ...authorOf(author) },
      cwd: this.place.workTree ?? "/",
      ...(input === undefined ? {} : { input: Buffer.from(input as string) }),
    });
    const status = end.status ?? -1;
    if (end.ended === "exited" && [0, ...(answers ?? [])].includes(status)) {
      return { status, stdout: end.stdout };
    }
    // What it waited for may have been put there after it was looked for.
    const odd = end.ended === "timeout" ? oddGitFile(this.place.gitDir) : null;
    throw failure(args[0] ?? "", end.ended, status, odd ?? end.stderr);
  }
}

/** A git that was killed cannot take its locks away, over which the next one would stumble. */
function removeOwnLocks({ gitDir, own, indexFile }: GitPlace): void {
  // An index that a call names is a copy of ours, wherever the repository is.
  if (indexFile !== undefined) rmSync(`${indexFile}.lock`, { force: true });
  if (own !== true || !existsSync(gitDir)) return;
  const locks = readdirSync(gitDir).filter((name) => name.endsWith(".lock"));
  for (const name of locks) rmSync(join(gitDir, name), { force: true });
}

/** True where git ended by a kill, and not by its own judgement. */
export function isKilledGit(error: unknown): boolean {
  return isSovereignError(error, "ERR_GIT_FAILED") && error.details["status"] === -1;
}

/**
 * Begin again what a git was killed amid: a sentinel that starts kills what is left of one before
 * it. After a stop nothing is begun again, for that ends with another error.
 *
 * @param work begins in a place that is empty, whatever an earlier try left there
 * @param mayRepeat whether a failure may come of a kill
 */
export async function beginAgain<T>(
  work: () => Promise<T>,
  mayRepeat: (error: unknown) => boolean = isKilledGit,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (tries === TRIES || !mayRepeat(error)) throw error;
    }
  }
}

/**
 * What the user's own git takes a setting for, of their repository, their own configuration and the
 * machine's. Only read: nothing that is configured runs.
 *
 * @returns empty where it is not set
 * @throws ERR_GIT_LIMIT where git does not end within `timeoutMs`
 */
export async function readUserSetting(
  gitDir: string,
  name: string,
  timeoutMs: number,
): Promise<string> {
  const end = await startToolRun("git", "git", ["config", "--includes", "--get", name], {
    stdoutBytesMax: 4096,
    timeoutMs,
    env: { PATH, HOME: homedir(), LC_ALL: "C", GIT_DIR: gitDir },
    cwd: "/",
  });
  if (end.ended === "timeout") throw failure("config", end.ended, -1, end.stderr);
  return end.status === 0 ? Buffer.from(end.stdout).toString("utf8").trim() : "";
}

function environmentOf(place: GitPlace, at: number): Record<string, string> {
  return {
    PATH,
    HOME: "/nonexistent",
    LC_ALL: "C",
    TZ: "UTC",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_NO_REPLACE_OBJECTS: "1",
    // A repository names a promisor, and allows its transport by name: this is over both.
    GIT_NO_LAZY_FETCH: "1",
    GIT_ALLOW_PROTOCOL: "none",
    // Grafts say that a commit has other parents.
    GIT_GRAFT_FILE: "/dev/null",
    GIT_LITERAL_PATHSPECS: "1",
    GIT_EDITOR: "false",
    GIT_PAGER: "cat",
    GIT_AUTHOR_NAME: COMMITTER.name,
    GIT_AUTHOR_EMAIL: COMMITTER.email,
    GIT_AUTHOR_DATE: `@${at} +0000`,
    GIT_COMMITTER_NAME: COMMITTER.name,
    GIT_COMMITTER_EMAIL: COMMITTER.email,
    GIT_COMMITTER_DATE: `@${at} +0000`,
    GIT_DIR: place.gitDir,
    ...(place.workTree === undefined ? {} : { GIT_WORK_TREE: place.workTree }),
    ...(place.indexFile === undefined ? {} : { GIT_INDEX_FILE: place.indexFile }),
    ...(place.objectDirectory === undefined ? {} : { GIT_OBJECT_DIRECTORY: place.objectDirectory }),
  };
}

function authorOf(author: GitCall["author"]): Record<string, string> {
  if (author === undefined) return {};
  return { GIT_AUTHOR_NAME: author.name, GIT_AUTHOR_EMAIL: author.email };
}

/** As git says it of its own, and of files that it cannot map. */
const OUT_OF_MEMORY = /[Oo]ut of memory|Cannot allocate memory|malloc failed/;

function failureCode(ended: string, said: string): ErrorCode {
  if (ended === "stopped") return "ERR_EFFECT_KILLED";
  if (ended === "timeout" || ended === "output_limit" || OUT_OF_MEMORY.test(said))
    return "ERR_GIT_LIMIT";
  if (said.includes("File name too long")) return "ERR_PATH_REFUSED";
  // In these words, for its language is ours.
  return /No space left on device|Disk quota exceeded/.test(said)
    ? "ERR_DISK_LOW"
    : "ERR_GIT_FAILED";
}

function failure(command: string, ended: string, status: number, stderr: string): SovereignError {
  if (ended === "not_started") {
    return new SovereignError(
      "ERR_GIT_MISSING",
      `git does not start: ${stderr}. On Debian or Ubuntu type: sudo apt-get install git`,
    );
  }
  // What git says may quote what a hostile repository holds: one printable line of it.
  const said = stderr
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(-500);
  const code = failureCode(ended, said);
  const text = `git ${command} ended with ${ended === "exited" ? `exit ${status}` : ended}: ${said}`;
  return new SovereignError(code, text, { command, status });
}
