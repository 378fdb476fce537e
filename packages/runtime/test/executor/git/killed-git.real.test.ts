import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  breakClaims,
  changeRefs,
  checkOut,
  Git,
  inspectRepository,
  keepCommit,
  releaseKept,
  stageAll,
  type UserRepository,
} from "../../../src/executor/git/index.ts";
import { RefClaim } from "../../../src/executor/git/ref-claim.ts";
import { lockRepository } from "../../../src/executor/repository/repository-lock.ts";
import { ToolScope, withTools } from "../../../src/process/index.ts";
import { TestRepository, workOn } from "../support/repository.ts";
import { judgeSteps, RUN_ID } from "../support/steps.ts";

let repo: TestRepository;
beforeEach(() => {
  repo = new TestRepository();
});
afterEach(() => {
  repo.dispose();
});

const locks = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".lock"),
  );

/** The tools that this process started and that live. */
function tools(): number[] {
  const tasks = `/proc/${process.pid}/task`;
  return readdirSync(tasks).flatMap((task) =>
    readFileSync(join(tasks, task, "children"), "utf8")
      .split(" ")
      .filter(Boolean)
      .map(Number),
  );
}

/** What was started since: a sentinel that starts kills it by a signal that nobody hears. */
function startedSince(before: readonly number[]): number[] {
  return tools().filter((pid) => !before.includes(pid));
}

const WRITES =
  /(?:^|\0)(?:am|add|checkout-index|read-tree|rev-parse|update-\w+|write-tree)(?:\0|$)/;

/**
 * Do something as a run does it, while each git that writes is killed when it starts for the first time, and
 * leaves what one leaves that was halfway: the lock of its index, and half of a patch.
 *
 * @returns the gits that were killed
 */
async function killingEach(work: () => Promise<unknown>): Promise<string[]> {
  const killed: string[] = [];
  const readers: number[] = [];
  const place = (): { groups: string[]; marker: Record<string, string> } => {
    // The tool writes to this before it becomes git: it waits there until somebody reads.
    const group = mkdtempSync(join(repo.folder, "group-"));
    const pipe = join(group, "cgroup.procs");
    execFileSync("mkfifo", [pipe]);
    const before = tools();
    process.nextTick(() => {
      const pid = startedSince(before)[0] ?? 0;
      const key = leaveHalf(pid, killed);
      if (key === null) {
        readers.push(openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK));
        return;
      }
      killed.push(key);
      process.kill(pid, "SIGKILL");
    });
    return { groups: [group], marker: {} };
  };
  await withTools(new ToolScope(place), false, work);
  for (const reader of readers) closeSync(reader);
  expect(killed).not.toEqual([]);
  return killed;
}

/** @returns which git it would be; null for one that writes nothing, or is known */
function leaveHalf(pid: number, known: readonly string[]): string | null {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, "utf8");
  const words = read("cmdline").split("\0git\0")[1] ?? "";
  if (!WRITES.test(words)) return null;
  const value = (name: string): string | undefined =>
    new RegExp(`(?:^|\0)${name}=([^\0]*)`).exec(read("environ"))?.[1];
  const folder = value("GIT_DIR") ?? "";
  const index = value("GIT_INDEX_FILE") ?? join(folder, "index");
  const key = `${words} ${folder} ${index}`;
  if (known.includes(key)) return null;
  // In the user's own repository no git of a run has these.
  if (!folder.startsWith(repo.root)) {
    leave(`${index}.lock`);
    if (words.includes("\0am\0")) leave(join(folder, "rebase-apply/next"));
  }
  return key;
}

function leave(path: string): void {
  if (!existsSync(dirname(dirname(path)))) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "");
}

const edit = (tree: string): void => {
  writeFileSync(join(tree, "src/app.ts"), "export const app = 2;\n");
};

describe("a git that was killed amid, and is begun again", () => {
  it("stages a step over the lock of its index", async () => {
    const { git, tree } = await workOn(repo);
    edit(tree);
    let staged = "";
    const killed = await killingEach(async () => {
      staged = await stageAll(git, []);
    });
    expect(killed).toHaveLength(2);
    expect(await git.text(["cat-file", "blob", `${staged}:src/app.ts`])).toContain("app = 2");
    expect(locks(git.place.gitDir)).toEqual([]);
  });

  it("leaves somebody else's locks in a repository of the user's", async () => {
    const user = new Git({ gitDir: join(repo.root, ".git") });
    const lock = join(repo.root, ".git/index.lock");
    leave(lock);
    await killingEach(() => user.text(["rev-parse", "HEAD"]));
    expect(existsSync(lock)).toBe(true);
  });

  it("checks a tree out over the lock of one whose whole process was killed", async () => {
    const { git, tree, head } = await workOn(repo);
    writeFileSync(join(git.place.gitDir, "index.lock"), "");
    const empty = join(repo.private, "empty");
    mkdirSync(empty);
    await checkOut(git.at({ workTree: empty }), head.commit);
    expect(readdirSync(empty).sort()).toEqual(readdirSync(tree).sort());
  });

  it("brings back though each git of it is killed once", async () => {
    const judged = await judgeSteps(repo, [edit]);
    const killed = await killingEach(() => judged.bring());
    const commands = ["\0am\0", "\0read-tree\0", "\0checkout-index\0", "\0update-ref\0"];
    for (const one of commands) expect(killed.some((key) => `\0${key}`.includes(one))).toBe(true);
    // None that could be killed with a lock of the user's repository in its hand.
    const ofUser = killed.filter((key) => key.includes(`${repo.root}/`));
    expect(ofUser.filter((key) => key.includes("update-ref"))).toEqual([]);
    expect(repo.git("rev-parse", "HEAD")).toBe(judged.patches[0]?.commit);
    expect(repo.git("status", "--porcelain")).toBe("");
    expect(locks(join(repo.root, ".git"))).toEqual([]);
  }, 60_000);
});

describe("a ref in the user's repository", () => {
  it("of a run is kept over the lock that a killed git of the run left", async () => {
    const user = await inspectRepository(repo.root);
    const commit = repo.git("rev-parse", "HEAD");
    const ref = `refs/sovereign/${RUN_ID}/base`;
    mkdirSync(join(repo.root, `.git/refs/sovereign/${RUN_ID}`), { recursive: true });
    leave(join(repo.root, `.git/${ref}.lock`));
    await keepCommit(user, RUN_ID, "base", commit);
    expect(repo.git("rev-parse", ref)).toBe(commit);
    await releaseKept(user, RUN_ID);
    expect(locks(join(repo.root, ".git"))).toEqual([]);
  });

  it.each(["loose", "packed"])("goes, and no lock stays: %s", async (kind) => {
    const user = await inspectRepository(repo.root);
    const ref = `refs/sovereign/${RUN_ID}/head`;
    repo.git("tag", "-m", "peeled", "v1");
    repo.git("update-ref", ref, "HEAD");
    const others = repo.git("for-each-ref", "refs/heads", "refs/tags");
    if (kind === "packed") repo.git("pack-refs", "--all");
    const git = new Git({ gitDir: user.gitDir });
    let held: string[] = [];
    await changeRefs(git, user, `delete ${ref}\n`, [ref], () => {
      held = locks(join(repo.root, ".git"));
      expect(() => repo.git("pack-refs", "--all")).toThrow("packed-refs.lock");
      expect(() => repo.git("update-ref", "-d", ref)).toThrow(`${ref}.lock`);
    });
    expect(held).toContain("packed-refs.lock");
    expect(locks(join(repo.root, ".git"))).toEqual([]);
    expect(repo.git("for-each-ref", "refs/sovereign")).toBe("");
    expect(repo.git("for-each-ref")).toBe(others);
    repo.git("pack-refs", "--all", "--prune");
    repo.git("fsck", "--strict");
  });

  it.each([
    ["is there", "refs/heads/main"],
    ["is a folder of others", "refs/heads/other"],
    ["is below a branch", "refs/heads/main/deeper"],
    ["is below a packed branch", "refs/heads/packed/deeper"],
    ["leads out of the refs", "refs/heads/../../../escaped"],
    ["ends as a lock does", "refs/heads/x.lock"],
    ["is none", "HEAD"],
    ["lies behind a link", "refs/heads/link/x"],
  ])("is not made where its name %s", async (_, ref) => {
    repo.git("branch", "packed");
    repo.git("pack-refs", "--all");
    repo.git("branch", "other/one");
    mkdirSync(repo.private);
    symlinkSync(repo.private, join(repo.root, ".git/refs/heads/link"));
    const before = repo.git("for-each-ref");
    const user = await inspectRepository(repo.root);
    const git = new Git({ gitDir: user.gitDir });
    const commit = repo.git("rev-parse", "HEAD");
    await expect(changeRefs(git, user, `create ${ref} ${commit}\n`, [ref])).rejects.toMatchObject({
      code: "ERR_GIT_FAILED",
    });
    expect(repo.git("for-each-ref")).toBe(before);
    expect([...readdirSync(repo.folder), ...readdirSync(repo.private)]).toEqual([
      "private",
      "repo",
    ]);
    expect(names(repo)).toEqual([]);
  });

  it("is not made of what is not there", async () => {
    const user = await inspectRepository(repo.root);
    const git = new Git({ gitDir: user.gitDir });
    const ref = "refs/heads/new";
    await expect(
      changeRefs(git, user, `create ${ref} ${"1".repeat(40)}\n`, [ref]),
    ).rejects.toMatchObject({ code: "ERR_GIT_FAILED" });
    expect(names(repo)).toEqual([]);
  });
});

/** Locks and claims. */
const names = (one: TestRepository): string[] =>
  one.names().filter((name) => /\.lock$|sovereign\.lock/.test(name));

describe("locks of a process that was killed at any instant", () => {
  const child = fileURLToPath(new URL("../support/locks-child.ts", import.meta.url));
  const MAIN = ".git/refs/heads/main.lock";

  const main = (): string => readFileSync(join(repo.root, ".git/refs/heads/main"), "utf8").trim();
  let ways: Readonly<Record<string, string>>;
  beforeEach(() => {
    const from = main();
    const to = repo.git("commit-tree", "main^{tree}", "-p", "main", "-m", "to");
    ways = { [from]: to, [to]: from };
  });

  /** Moves main, and is killed at the so-manieth instant. @returns false where it ended before */
  async function killedAt(repository: UserRepository, at: number): Promise<boolean> {
    const from = main();
    const to = ways[from] ?? "";
    const task = JSON.stringify({ repository, from, to, at });
    const ended = spawn(process.execPath, [child, task], { stdio: "inherit" });
    const [, signal] = (await once(ended, "close")) as [number | null, string | null];
    expect(signal === null ? [to] : [from, to]).toContain(main());
    return signal === "SIGKILL";
  }

  it("are known for ours, and go with the next command", async () => {
    const user = await inspectRepository(repo.root);
    const seen = new Set<string>();
    let at = 1;
    for (; await killedAt(user, at); at += 1) {
      for (const name of names(repo)) seen.add(name.replace(/refs\.\d+-\d+/, "refs"));
      breakClaims(user);
      expect(names(repo)).toEqual([]);
    }
    expect(seen).toContain(MAIN);
    expect(seen).toContain(".git/HEAD.lock");
    expect(repo.git("reflog", "-1", "main")).toContain("test");
    repo.git("commit", "-q", "--allow-empty", "-m", "the user's own git works");
  });

  it("are not those of the user's, whatever stands in them and whoever died", async () => {
    const user = await inspectRepository(repo.root);
    for (let at = 1; !names(repo).includes(MAIN); at += 1) {
      breakClaims(user);
      expect(await killedAt(user, at)).toBe(true);
    }
    const text = readFileSync(join(repo.root, MAIN));
    rmSync(join(repo.root, MAIN));
    writeFileSync(join(repo.root, MAIN), text);
    (await lockRepository(user, RUN_ID, 0)).release();
    expect(names(repo)).toEqual([MAIN]);
  });

  it("stay while their process lives, and half a claim of the living, too", async () => {
    const user = await inspectRepository(repo.root);
    const lock = { path: join(user.gitDir, "HEAD.lock"), patienceMs: 0 };
    const claim = await RefClaim.take(user, [lock], "work");
    const half = `.git/sovereign.lock.refs.${process.ppid}-0`;
    repo.write(half, "{");
    breakClaims(user);
    expect(names(repo)).toEqual(expect.arrayContaining([".git/HEAD.lock", half]));
    await expect(RefClaim.take(user, [lock], "work")).rejects.toMatchObject({
      code: "ERR_GIT_FAILED",
    });
    claim.release();
    expect(names(repo)).toEqual([half]);
  });

  it("are of no claim that names other files", async () => {
    const user = await inspectRepository(repo.root);
    const mine = join(repo.folder, "mine.lock");
    writeFileSync(mine, "mine");
    const text = { owner: "1 0 nowhere x", work: "w", locks: [mine, join(user.gitDir, "HEAD")] };
    repo.write(".git/sovereign.lock.refs.999999999-1", JSON.stringify(text));
    const locks = { ...text, locks: [mine] };
    repo.write(".git/sovereign.lock.refs.999999999-2", JSON.stringify(locks));
    breakClaims(user, "w");
    expect(names(repo)).toEqual([]);
    expect(readFileSync(mine, "utf8")).toBe("mine");
    expect(existsSync(join(user.gitDir, "HEAD"))).toBe(true);
  });
});
