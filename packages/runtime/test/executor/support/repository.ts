import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  checkOut,
  createPrivateRepository,
  type Git,
  type Head,
  inspectRepository,
  readHead,
  type UserRepository,
} from "../../../src/executor/git/index.ts";

/** A user's repository, made with plain git. */
export class TestRepository {
  readonly folder = mkdtempSync(join(tmpdir(), "sov-repo-"));
  readonly root = join(this.folder, "repo");
  readonly private = join(this.folder, "private");

  constructor(files: Readonly<Record<string, string | Buffer>> = FILES, format = "sha1") {
    mkdirSync(this.root);
    this.git("init", "-q", "-b", "main", `--object-format=${format}`);
    for (const [path, content] of Object.entries(files)) this.write(path, content);
    this.commit("base");
  }

  /** Plain git, as a user with a configuration of their own would run it. */
  git(...args: string[]): string {
    return execFileSync("git", args, {
      cwd: this.root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        HOME: this.folder,
        GIT_AUTHOR_NAME: "User",
        GIT_AUTHOR_EMAIL: "user@example.org",
        GIT_COMMITTER_NAME: "User",
        GIT_COMMITTER_EMAIL: "user@example.org",
      },
    }).trimEnd();
  }

  commit(message: string): string {
    this.git("add", "-A");
    this.git("commit", "-q", "--allow-empty", "-m", message);
    return this.git("rev-parse", "HEAD");
  }

  write(path: string, content: string | Buffer, mode?: number): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), content);
    if (mode !== undefined) chmodSync(join(this.root, path), mode);
  }

  link(path: string, target: string): void {
    symlinkSync(target, join(this.root, path));
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), "utf8");
  }

  /** All of the user's side that a run must not disturb. */
  state(): { head: string; ref: string; tree: string; index: string; status: string } {
    const quiet = (...args: string[]): string => {
      try {
        return this.git(...args);
      } catch {
        return "";
      }
    };
    return {
      head: quiet("rev-parse", "HEAD"),
      ref: quiet("symbolic-ref", "-q", "HEAD"),
      tree: quiet("rev-parse", "HEAD^{tree}"),
      index: this.git("ls-files", "-s"),
      status: this.git(
        "--no-optional-locks",
        "status",
        "--porcelain=v1",
        "-z",
        "--untracked-files=all",
        "--ignored",
      ),
    };
  }

  /** Every name that is there, folders and git's own locks too; but for objects and logs. */
  names(): string[] {
    return readdirSync(this.root, { recursive: true, encoding: "utf8" })
      .filter((name) => !/^\.git\/(objects|logs)\//.test(name))
      .sort();
  }

  dispose(): void {
    execFileSync("chmod", ["-R", "u+rwX", this.folder]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const FILES = {
  "README.md": "# Hello\n",
  "src/app.ts": "export const app = 1;\n",
  "src/util.ts": "export const util = 2;\n",
  "docs/guide.md": "guide\n",
};

/** A private repository over a user's, with a work tree at its HEAD. */
export async function workOn(
  repository: TestRepository,
): Promise<{ user: UserRepository; head: Head; git: Git; tree: string }> {
  const user = await inspectRepository(repository.root);
  const head = await readHead(user);
  const bare = await createPrivateRepository(join(repository.private, "git"), user, head.commit);
  const tree = join(repository.private, "tree");
  mkdirSync(tree, { recursive: true });
  const git = bare.at({ workTree: tree });
  await checkOut(git, head.commit);
  return { user, head, git, tree };
}
