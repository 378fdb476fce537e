import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  changeRefs,
  checkOut,
  Git,
  inspectRepository,
  keepCommit,
  releaseKept,
  stageAll,
} from "../../../src/executor/git/index.ts";
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

/** Kill what was started since, as a sentinel that starts does: by a signal that nobody hears. */
function killTools(before: readonly number[]): void {
  for (const pid of startedSince(before)) process.kill(pid, "SIGKILL");
}

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

  it.each(["loose", "packed"])("goes where git is killed with its locks: %s", async (kind) => {
    const user = await inspectRepository(repo.root);
    const ref = `refs/sovereign/${RUN_ID}/head`;
    repo.git("update-ref", ref, "HEAD");
    if (kind === "packed") repo.git("pack-refs", "--all");
    const git = new Git({ gitDir: user.gitDir });
    const before = tools();
    let held: string[] = [];
    await changeRefs(git, user, `delete ${ref}\n`, [ref], () => {
      if (held.length > 0) return;
      held = locks(join(repo.root, ".git"));
      killTools(before);
    });
    expect(held).toContain("packed-refs.lock");
    expect(locks(join(repo.root, ".git"))).toEqual([]);
    expect(repo.git("for-each-ref", "refs/sovereign")).toBe("");
    repo.git("pack-refs", "--all", "--prune");
  });
});
