import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ScramLink } from "../packages/runtime/src/scram/index.ts";
import { endOf as endOfCommand, type Json } from "../test/e2e/cli.ts";

const PATHS = ["made/**", "src/**"];
const COMMANDS = [{ id: "sh", executable: "sh", allowed_args: ["**"] }];
const POLICY = {
  policy_id: "kills",
  schema_version: "1.0.0",
  allowed_git_operations: ["git_commit"],
  allowlist: { file_operations: ["write_file", "delete_file"], paths: PATHS, commands: COMMANDS },
  limits: { max_file_size_mb: 1, max_files: 100, timeout_seconds: 60 },
};

export interface CliEnd {
  readonly code: number | null;
  readonly documents: Json[];
  readonly err: string;
}

export const OFFICERS = ["--operator-key", "alice", "--architect-key", "bob"];

/** A throw-away installation and a throw-away user's repository, for processes that are killed. */
export class KillRig {
  readonly folder: string = mkdtempSync(join(tmpdir(), "sov-exec-kill-"));
  readonly home: string = join(this.folder, "home");
  /** What the command of a step leaves in the background: nothing of it may ever live on. */
  readonly marker: string = `600.${process.pid}`;
  readonly #template: string = join(this.folder, "template");
  #count = 0;

  constructor() {
    mkdirSync(this.home);
    this.#write("policy.json", JSON.stringify(POLICY));
    this.#write("request.json", JSON.stringify(requestOf(this.marker)));
    this.#write("held.json", JSON.stringify(heldRequest(this.marker)));
    makeTemplate(this.#template);
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  /** A new copy of the user's repository, with edits of theirs that are not committed. */
  repository(): string {
    this.#count += 1;
    const root = join(this.folder, `repo-${this.#count}`);
    cpSync(this.#template, root, { recursive: true, verbatimSymlinks: true });
    return root;
  }

  start(args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [resolve("packages/runtime/bin/sovereign.js"), ...args], {
      env: { PATH: process.env["PATH"], HOME: this.folder, SOVEREIGN_HOME: this.home },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  cli(...args: string[]): Promise<CliEnd> {
    return endOf(this.start([...args, "--json"]));
  }

  /** @param request of the rig's: `held.json` has a command that does not end by itself */
  runArguments(root: string, request: "request.json" | "held.json" = "request.json"): string[] {
    const file = (name: string): string => join(this.folder, name);
    const files = ["--policy", file("policy.json"), "--request", file(request)];
    return ["exec", "run", ...files, "--repo", root, "--json"];
  }

  /** The runs whose folders are there. */
  runs(): string[] {
    const runs = join(this.home, "runs");
    return existsSync(runs) ? readdirSync(runs).filter((name) => name.startsWith("run_")) : [];
  }

  runFile(run: string, name: string): string | null {
    const path = join(this.home, "runs", run, name);
    return existsSync(path) ? readFileSync(path, "utf8") : null;
  }

  /** The processes of this installation's kill switch; null where none runs. */
  async guards(): Promise<{ pid: number; engine: number | null } | null> {
    const folder = join(this.home, "scram");
    const link = existsSync(folder) ? await ScramLink.find(folder) : null;
    if (link === null) return null;
    try {
      return (await link.request({ t: "status" })) as { pid: number; engine: number | null };
    } catch {
      // It died before it answered.
      return null;
    } finally {
      link.close();
    }
  }

  postmaster(): number | null {
    try {
      const path = join(this.home, "postgres/data/postmaster.pid");
      return Number(readFileSync(path, "utf8").split("\n")[0]);
    } catch {
      return null;
    }
  }

  /** The database server and what it started. */
  server(): number[] {
    const parent = this.postmaster();
    if (parent === null) return [];
    const children = readdirSync("/proc").filter((pid) =>
      read(`/proc/${pid}/status`).includes(`\nPPid:\t${parent}\n`),
    );
    return [parent, ...children.map(Number)];
  }

  /** What of this installation lives: by its folder's name, or the marker of its commands. */
  living(onlyPaths = false): string[] {
    const words = onlyPaths ? [this.marker] : [this.marker, this.folder];
    const found: string[] = [];
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      if (Number(pid) === process.pid) continue;
      const line = read(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
      const environment = onlyPaths ? "" : read(`/proc/${pid}/environ`);
      if (words.some((word) => line.includes(word) || environment.includes(word)))
        found.push(`${pid} ${line.slice(0, 200)}`);
    }
    return found;
  }

  /** Whether a command's own process runs: not what is to become one, whose words name it, too. */
  get isPathAlive(): boolean {
    return this.living(true).some((line) => /^\d+ sleep /.test(line));
  }

  /** Wait until nothing lives, or say what does. */
  async survivors(withinMs: number, onlyPaths = false): Promise<string[]> {
    for (let waited = 0; waited < withinMs; waited += 100) {
      if (this.living(onlyPaths).length === 0) return [];
      await sleep(100);
    }
    return this.living(onlyPaths);
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** A step that changes the work tree, and one whose command and what it left behind stay. */
function heldRequest(marker: string): object {
  const script = `echo half >> src/two.txt; (setsid sleep ${marker} &); sleep ${marker}`;
  const change = { path: "src/one.txt", content: "changed\n" };
  return requestWith([
    [{ op_id: "change", action: "write_file", params: change }],
    [{ op_id: "sh", action: "command", params: { argv: ["sh", "-c", script] } }],
  ]);
}

function requestOf(marker: string): object {
  const write = (op_id: string, path: string, content: string): object => ({
    ...{ op_id, action: "write_file", params: { path, content } },
  });
  const script = [
    `(setsid sleep ${marker} &)`,
    "sleep 0.3",
    "echo by a command > made/deep/er/command.txt",
    "echo changed by a command >> src/two.txt",
    "chmod +x src/two.txt",
  ].join("; ");
  const operations = [
    [write("new", "made/deep/er/file.txt", "new\n"), write("change", "src/one.txt", "changed\n")],
    [{ op_id: "sh", action: "command", params: { argv: ["sh", "-c", script] } }],
    [
      { op_id: "delete", action: "delete_file", params: { path: "src/sub/only.txt" } },
      { op_id: "sh", action: "command", params: { argv: ["sh", "-c", "ln -s one.txt src/link"] } },
    ],
  ];
  return requestWith(operations);
}

function requestWith(operations: readonly (readonly object[])[]): object {
  return {
    exec_request_id: "exec_req_kills_01",
    schema_version: "1.0.0",
    created_at: "2026-01-01T00:00:00Z",
    patch_plan: {
      steps: operations.map((ops, at) => ({ step_id: `step_0${at + 1}`, operations: ops })),
    },
  };
}

/** Committed files, an untracked one, an edit that is staged and one that is not. */
function makeTemplate(root: string): void {
  const git = (...args: string[]): void => {
    const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
    execFileSync("git", [...identity, ...args], { cwd: root });
  };
  mkdirSync(join(root, "src/sub"), { recursive: true });
  git("init", "-q", "-b", "main");
  for (const name of ["src/one.txt", "src/two.txt", "src/sub/only.txt", "edited", "staged"])
    writeFileSync(join(root, name), `${name}\n`);
  chmodSync(join(root, "edited"), 0o755);
  git("add", "-A");
  git("commit", "-q", "-m", "base");
  appendFileSync(join(root, "edited"), "mine\n");
  appendFileSync(join(root, "staged"), "mine\n");
  git("add", "staged");
  writeFileSync(join(root, "src/mine.txt"), "not committed\n");
  mkdirSync(join(root, "mine-and-empty"));
}

/** Its documents are those that came whole: the last line of one that was killed may be half there. */
export async function endOf(child: ChildProcess): Promise<CliEnd> {
  const { code, out, err } = await endOfCommand(child);
  const lines = out.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
  return { code, documents: lines.map((line) => JSON.parse(line) as Json), err };
}

/** All that a user could notice of their repository, as lines that can be compared. */
export function lookAt(root: string): string[] {
  const env = { PATH: process.env["PATH"], GIT_OPTIONAL_LOCKS: "0", HOME: "/nonexistent" };
  const git = (...args: string[]): string[] =>
    execFileSync("git", args, { cwd: root, env, encoding: "utf8" })
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => `${args[0] ?? ""}: ${line}`);
  // A commit names its run, so each run's has an id of its own: what it is shows in tree and history.
  const head = execFileSync("git", ["rev-parse", "HEAD"], { cwd: root, env, encoding: "utf8" });
  const unnamed = (line: string): string =>
    line.replaceAll(head.trim(), "HEAD").replaceAll(head.slice(0, 7), "HEAD");
  return [
    ...git("rev-parse", "HEAD^{tree}"),
    ...git("log", "--format=%an %s"),
    ...git("symbolic-ref", "HEAD"),
    ...git("for-each-ref"),
    ...git("ls-files", "--stage"),
    ...git("status", "--porcelain", "--untracked-files=all", "--ignored"),
    ...git("worktree", "list").map((line) => line.replace(root, "ROOT")),
    ...git("fsck", "--strict", "--no-dangling"),
    ...below(root, "", (path) => path === ".git").map((line) => `file: ${line}`),
    // Objects come and go with git's own collection, and logs grow: but no half-made object stays.
    ...below(join(root, ".git"), "", (path) => path === "logs" || path === "index")
      .filter((line) => !line.startsWith("objects/") || line.includes("tmp_"))
      .map((line) => `git: ${line.replace(/ [0-9a-f]{64}$/, "")}`),
  ].map(unnamed);
}

function below(root: string, folder: string, leftOut: (path: string) => boolean): string[] {
  return readdirSync(join(root, folder))
    .sort()
    .flatMap((name) => {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (leftOut(path)) return [];
      return unlessGone(() => entry(root, path, leftOut));
    });
}

function entry(root: string, path: string, leftOut: (path: string) => boolean): string[] {
  const full = join(root, path);
  const found = lstatSync(full);
  if (found.isSymbolicLink()) return [`${path} -> ${readlinkSync(full)}`];
  if (found.isDirectory()) return [`${path}/`, ...below(root, path, leftOut)];
  const hash = createHash("sha256").update(readFileSync(full)).digest("hex");
  return [`${path} ${(found.mode & 0o777).toString(8)} ${hash}`];
}

/** Nothing where it went while we looked: who was not killed still works, and lets go of its lock. */
function unlessGone(look: () => string[]): string[] {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** What one has and the other has not. */
export function difference(found: readonly string[], expected: readonly string[]): string[] {
  return [
    ...found.filter((line) => !expected.includes(line)).map((line) => `+ ${line}`),
    ...expected.filter((line) => !found.includes(line)).map((line) => `- ${line}`),
  ];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
