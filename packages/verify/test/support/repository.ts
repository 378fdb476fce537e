import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** The words with which patches of steps are made. */
export const FORMAT_PATCH = [
  "format-patch",
  ...["--stdout", "--binary", "--full-index", "--no-renames", "--no-signature"],
  ...["--keep-subject", "--always", "--no-textconv", "--no-ext-diff", "-1"],
];

/** A repository made with plain git, in a folder that goes away. */
export class PlainRepository {
  readonly folder = mkdtempSync(join(tmpdir(), "sov-git-"));
  readonly root = join(this.folder, "repo");

  constructor(format = "sha1") {
    mkdirSync(this.root);
    this.git("init", "-q", "-b", "main", `--object-format=${format}`);
  }

  git(...args: string[]): string {
    return this.bytes(args).toString("utf8").trimEnd();
  }

  bytes(args: readonly string[], input?: string | Buffer, cwd = this.root): Buffer {
    return execFileSync("git", args, {
      cwd,
      maxBuffer: 512 * 1024 * 1024,
      stdio: ["pipe", "pipe", "pipe"],
      ...(input === undefined ? {} : { input }),
      env: {
        PATH: process.env["PATH"],
        HOME: this.folder,
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_AUTHOR_NAME: "User",
        GIT_AUTHOR_EMAIL: "user@example.org",
        GIT_COMMITTER_NAME: "User",
        GIT_COMMITTER_EMAIL: "user@example.org",
        GIT_AUTHOR_DATE: "@1700000000 +0000",
        GIT_COMMITTER_DATE: "@1700000000 +0000",
      },
    });
  }

  write(path: string, content: string | Uint8Array, mode = 0o644): void {
    this.remove(path);
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), content);
    chmodSync(join(this.root, path), mode);
  }

  link(path: string, target: string): void {
    this.remove(path);
    symlinkSync(target, join(this.root, path));
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true });
  }

  commit(message: string): string {
    this.git("add", "-A");
    this.git("commit", "-q", "--allow-empty", "-m", message);
    return this.git("rev-parse", "HEAD");
  }

  /** Every object with its type, as git itself has them. */
  everything(cwd = this.root): { id: string; type: string; bytes: Buffer }[] {
    const args = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
    const ids = this.bytes(args, undefined, cwd).toString("utf8").trimEnd();
    const said = this.bytes(["cat-file", "--batch"], `${ids}\n`, cwd);
    const found: { id: string; type: string; bytes: Buffer }[] = [];
    for (let at = 0; at < said.length; ) {
      const end = said.indexOf(10, at);
      const [id = "", type = "", size = ""] = said.toString("latin1", at, end).split(" ");
      const bytes = said.subarray(end + 1, end + 1 + Number(size));
      found.push({ id, type, bytes });
      at = end + 1 + bytes.length + 1;
    }
    return found;
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
