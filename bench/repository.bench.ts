import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspectRepository, releaseKept } from "../packages/runtime/src/executor/git/index.ts";
import { rollBack } from "../packages/runtime/src/executor/repository/rollback.ts";
import { race } from "../packages/runtime/test/executor/support/race.ts";
import { TestRepository } from "../packages/runtime/test/executor/support/repository.ts";
import { judgeSteps, RUN_ID } from "../packages/runtime/test/executor/support/steps.ts";
import type { BenchReport, BenchRow } from "./report.ts";

const GIT_TRIALS = Number(process.env["REPOSITORY_GIT_TRIALS"] ?? 100);
const EDITS = Number(process.env["REPOSITORY_EDITS"] ?? 2000);

/** What a user's git does again and again while a run comes back and is rolled back. */
const BESIDE: Readonly<Record<string, string>> = {
  prune: "git prune --expire=now",
  gc: "git reflog expire --expire=now --all; git gc -q --prune=now",
  repack: "git repack -adq; git prune --expire=now",
  maintenance: "git -c gc.pruneExpire=now maintenance run --task=gc --task=commit-graph",
  fetch: "git fetch -q ../other '+refs/heads/*:refs/remotes/other/*'; git prune --expire=now",
  commit: "git -c user.name=u -c user.email=u@e commit -q --allow-empty -m mine",
  checkout: "git checkout -q -b side; git checkout -q main",
  "pack-refs": "git pack-refs --all --prune",
};

/**
 * Runs that come back, and are rolled back, beside the user's own git and beside programs that edit
 * the same files: is the repository sound, is the word true that was given, is any edit lost?
 */
export async function run(): Promise<BenchReport> {
  const rows = [...(await besideGit()), await besideEdits()];
  return { title: "The user's repository beside other programs", rows };
}

interface Trial {
  readonly back: string;
  readonly rolledBack: string;
  /** What was said and is not so, or what is broken. */
  readonly wrong: readonly string[];
}

async function besideGit(): Promise<BenchRow[]> {
  const names = Object.keys(BESIDE);
  const trials = new Map<string, Trial[]>(names.map((name) => [name, []]));
  for (let at = 0; at < GIT_TRIALS; at += 1) {
    const name = names[at % names.length] ?? "";
    const trial = await besideOne(BESIDE[name] ?? "");
    for (const wrong of trial.wrong) console.error(`${name}: WRONG: ${wrong}`);
    trials.get(name)?.push(trial);
  }
  return names.map((name) => {
    const own = trials.get(name) ?? [];
    const count = (pick: (trial: Trial) => string): string =>
      Object.entries(Object.groupBy(own, pick))
        .map(([key, found]) => `${key} ${found?.length ?? 0}`)
        .join(", ");
    const wrong = own.filter((trial) => trial.wrong.length > 0).length;
    const back = count((trial) => trial.back);
    const rolledBack = count((trial) => trial.rolledBack);
    return { name: `beside ${name}`, values: { trials: own.length, wrong, back, rolledBack } };
  });
}

async function besideOne(script: string): Promise<Trial> {
  const repo = new TestRepository();
  const wrong: string[] = [];
  repo.git("clone", "-q", "--no-hardlinks", repo.root, join(repo.folder, "other"));
  const user = await inspectRepository(repo.root);
  const judged = await judgeSteps(repo, [
    (tree) => {
      writeFileSync(join(tree, "src/app.ts"), "export const app = 2;\n");
      mkdirSync(join(tree, "new"));
      writeFileSync(join(tree, "new/file"), "x\n");
    },
  ]);
  const base = judged.head.commit;
  const head = judged.patches.at(-1)?.commit ?? "";
  const other = beside(repo, script);
  try {
    const back = await attempt(() => judged.bring());
    const folder = join(repo.private, "back");
    const ref = "refs/heads/main";
    const way = { repository: user, base, head, ref, folder, at: 1_800_000_000 };
    const rolledBack = back === "done" ? await attempt(() => rollBack(way)) : "none";
    await end(other);
    await releaseKept(user, RUN_ID);
    wrong.push(...lookAt(repo, { base, head, back, rolledBack }));
    return { back, rolledBack, wrong };
  } catch (error) {
    return { back: "?", rolledBack: "?", wrong: [...wrong, String(error)] };
  } finally {
    await end(other);
    repo.dispose();
  }
}

async function attempt(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "done";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** What was said, held against what the user's own git says. */
function lookAt(
  repo: TestRepository,
  said: { base: string; head: string; back: string; rolledBack: string },
): string[] {
  const { base, head, back, rolledBack } = said;
  const wrong: string[] = [];
  const commits = repo.git("rev-list", "main").split("\n");
  const should = back === "done" && rolledBack !== "done";
  if (commits.includes(head) !== should)
    wrong.push(`said ${back}, then ${rolledBack}, and the branch ${should ? "lacks" : "has"} it`);
  if (!commits.includes(base)) wrong.push("the base is gone");
  const fsck = repo.git("fsck", "--strict");
  if (/missing|error|broken|bad/.test(fsck)) wrong.push(fsck);
  const status = repo.git("status", "--porcelain");
  if (status !== "") wrong.push(`status: ${status}`);
  return wrong;
}

function beside(repo: TestRepository, script: string): ChildProcess {
  const loop = `while read -t 0.01 _ || [ $? -gt 128 ]; do ${script}; done 2>/dev/null`;
  return spawn("bash", ["-c", loop], {
    cwd: repo.root,
    env: { PATH: process.env["PATH"], HOME: repo.folder },
    stdio: ["pipe", "ignore", "ignore"],
  });
}

/** Its input's end ends it, after what it does just now. */
async function end(other: ChildProcess): Promise<void> {
  if (other.exitCode !== null) return;
  const ended = new Promise((closed) => other.once("close", closed));
  other.stdin?.end();
  await ended;
}

async function besideEdits(): Promise<BenchRow> {
  const steps = ["journalled", "foldered", "replaced", "indexed", "locked", "moved"];
  let edits = 0;
  let trials = 0;
  let kept = 0;
  const lost: string[] = [];
  const outcomes: string[] = [];
  for (; edits < EDITS; trials += 1) {
    const found = await race(1000 + trials * 17, steps[trials % steps.length] ?? "");
    edits += found.edits;
    kept += found.kept;
    outcomes.push(found.sound ? found.outcome : "BROKEN");
    for (const one of found.lost) console.error(`lost: ${one}`);
    lost.push(...found.lost);
  }
  const ends = Object.entries(Object.groupBy(outcomes, (one) => one))
    .map(([name, all]) => `${name} ${all?.length ?? 0}`)
    .join(", ");
  return { name: "beside edits", values: { trials, edits, lost: lost.length, kept, ends } };
}
