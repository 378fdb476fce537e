import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  inspectRepository,
  readHead,
  removeHostile,
  ReviewedPolicy,
  workLimits,
  Workspace,
} from "../packages/runtime/src/executor/index.ts";
import { parsePolicy, PolicyEngine } from "../packages/runtime/src/policy/index.ts";
import {
  execute,
  requestOf,
  sh,
  write,
} from "../packages/runtime/test/executor/support/exec-world.ts";
import { TestRepository } from "../packages/runtime/test/executor/support/repository.ts";
import { gitBetween, watchGit } from "./git-time.ts";
import { type BenchReport, type BenchRow, printReport, quantiles, round } from "./report.ts";

const SIZES = [100, 5_000, 50_000];
const STEPS = 20;
const COMMANDS = 4;
const NO_POLICY = { policy_id: "bench", schema_version: "1.0.0", allowlist: {} };

/**
 * A governed step (one file written, one commit, its patch) against the same by plain git: `git add`,
 * `git commit`, `git format-patch`, and `git am` in another work tree; how it splits into git and all
 * else; and what the first step and the end of a run take besides, beside `git worktree add`. Kernel,
 * signatures and judgements are real; the ledger is in memory, so its commit is measured elsewhere.
 *
 * Nothing is removed before it is measured: a file system without a journal looks over all that was
 * removed in the last half minute whenever it makes a file.
 */
export async function run(): Promise<BenchReport> {
  watchGit();
  const rows: BenchRow[] = [];
  for (const size of SIZES) rows.push(...(await measureSize(size)));
  return { title: "Executor, milliseconds", rows };
}

async function measureSize(size: number): Promise<BenchRow[]> {
  const repository = new TestRepository(filesOf(size));
  try {
    const other = join(repository.folder, "other");
    const add = (folder: string): Promise<number> =>
      timed(() => repository.git("worktree", "add", "-q", "--detach", folder));
    const before = await add(other);
    const run = await governedRun(repository);
    // The first of the two waits also for what making the repository left to the disk.
    const added = Math.min(before, await add(join(repository.folder, "another")));
    const place = await workPlace(repository);
    return rowsOf(size, added, plainSteps(repository, other), run, place);
  } finally {
    await removeHostile(repository.folder);
  }
}

interface GovernedRun {
  readonly before: number;
  /** Each step's time: those that write a file, then those that run a command. */
  readonly steps: readonly number[];
  /** What git took of each, and which of its commands. */
  readonly git: readonly ReturnType<typeof gitBetween>[];
  readonly back: number;
}

async function governedRun(repository: TestRepository): Promise<GovernedRun> {
  const writes = Array.from({ length: STEPS }, (_, step) => [
    write(`governed/file-${step}.txt`, `${step}\n`),
  ]);
  const commands = Array.from({ length: COMMANDS }, (_, step) => [
    sh(`echo ${step} > governed/command-${step}.txt`),
  ]);
  const steps: number[] = [];
  const git: ReturnType<typeof gitBetween>[] = [];
  const start = performance.now();
  let at = start;
  let before = 0;
  let back = 0;
  const { code, reason } = await execute(repository, requestOf([...writes, ...commands]), {
    policy: { limits: { max_file_size_mb: 1, max_files: 1000, timeout_seconds: 60 } },
    folder: join(repository.folder, "run"),
    onProgress: ({ event }) => {
      const now = performance.now();
      if (event === "step.started" && before === 0) before = now - start;
      if (event === "step.completed") {
        steps.push(now - at);
        git.push(gitBetween(at, now));
      }
      if (event === "exec.brought_back") back = now - at;
      at = now;
    },
  });
  if (code !== "none") throw new Error(`${code}: ${reason}`);
  return { before, steps, git, back };
}

interface WorkPlace {
  readonly repository: number;
  readonly tree: number;
  readonly removal: number;
}

/** The parts of a run that have nothing to do with its steps, each by itself. */
async function workPlace(repository: TestRepository): Promise<WorkPlace> {
  const user = await inspectRepository(repository.root);
  const head = await readHead(user);
  const folder = join(repository.folder, "parts");
  const compiled = parsePolicy(Buffer.from(JSON.stringify(NO_POLICY)), "policy.json");
  const policy = new ReviewedPolicy(new PolicyEngine(compiled));
  const start = performance.now();
  const space = await Workspace.open(folder, user, head, policy, workLimits(compiled));
  const opened = performance.now() - start;
  const tree = await timed(() => space.require(head.tree));
  const removal = await timed(() => removeHostile(folder));
  return { repository: opened, tree, removal };
}

async function timed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function rowsOf(
  size: number,
  added: number,
  plain: readonly number[],
  { before, steps, git, back }: GovernedRun,
  place: WorkPlace,
): BenchRow[] {
  const base = quantiles(plain);
  const [first = 0, ...others] = steps.slice(0, STEPS);
  const own = quantiles(others);
  const ofGit = quantiles(git.slice(1, STEPS).map(({ ms }) => ms));
  const besides = quantiles(others.map((took, at) => took - (git[at + 1]?.ms ?? 0)));
  const [command = 0, ...commands] = steps.slice(STEPS);
  const row = (name: string, value: number): BenchRow => ({
    name: `${size} files: ${name}`,
    values: { p50: round(value) },
  });
  const besidePlain = (name: string, value: number): BenchRow => ({
    name: `${size} files: ${name}`,
    values: { p50: round(value), "times plain": round(value / added) },
  });
  return [
    { name: `${size} files: plain step`, values: { p50: round(base.p50), p99: round(base.p99) } },
    {
      name: `${size} files: governed step`,
      values: {
        p50: round(own.p50),
        p99: round(own.p99),
        "times plain": round(own.p50 / base.p50),
        "within 2x + 60": own.p50 <= 2 * base.p50 + 60 ? "yes" : "no",
      },
    },
    {
      name: `${size} files: of it: git`,
      values: {
        p50: round(ofGit.p50),
        p99: round(ofGit.p99),
        calls: git[1]?.commands.join(" ") ?? "",
      },
    },
    {
      name: `${size} files: of it: kernel, files and judgement`,
      values: { p50: round(besides.p50), p99: round(besides.p99) },
    },
    row("plain git worktree add", added),
    row("until the first step", before),
    besidePlain("first step, with the work tree", first),
    besidePlain("of it: the work tree", place.tree),
    row("of a run: the repository of ours", place.repository),
    row("first command's step", command),
    row("a command's step after it", quantiles(commands).p50),
    row(`bring-back of ${STEPS + COMMANDS} commits`, back),
    row("the work tree's removal", place.removal),
  ];
}

function plainSteps(repository: TestRepository, other: string): number[] {
  const inOther = (args: readonly string[], input: string): void => {
    const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
    execFileSync("git", [...identity, ...args], { cwd: other, input });
  };
  repository.git("-C", other, "checkout", "-q", "--detach", repository.git("rev-parse", "HEAD"));
  const samples: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const start = performance.now();
    mkdirSync(join(repository.root, "plain"), { recursive: true });
    writeFileSync(join(repository.root, `plain/file-${step}.txt`), `${step}\n`);
    repository.git("add", "-A");
    repository.git("commit", "-q", "-m", `step ${step}`);
    const patch = repository.git("format-patch", "--stdout", "-1");
    inOther(["am", "-q"], `${patch}\n`);
    samples.push(performance.now() - start);
  }
  return samples;
}

function filesOf(size: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: size }, (_, file) => [
      `folder-${file % 100}/sub-${Math.floor(file / 100) % 50}/file-${file}.txt`,
      `file ${file}\n`,
    ]),
  );
}

if (import.meta.main) printReport(await run());
