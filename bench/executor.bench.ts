import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execute, requestOf, write } from "../packages/runtime/test/executor/support/exec-world.ts";
import { TestRepository } from "../packages/runtime/test/executor/support/repository.ts";
import { type BenchReport, type BenchRow, printReport, quantiles, round } from "./report.ts";

const SIZES = [100, 5_000, 50_000];
const STEPS = 20;

/**
 * A governed step (one file written, one commit, its patch) against the same by plain git: `git add`,
 * `git commit`, `git format-patch`, and `git am` in another work tree. Kernel, signatures and
 * judgements are real; the ledger is in memory, so its commit is measured elsewhere.
 */
export async function run(): Promise<BenchReport> {
  const rows: BenchRow[] = [];
  for (const size of SIZES) rows.push(...(await measureSize(size)));
  return { title: "Executor, milliseconds", rows };
}

async function measureSize(size: number): Promise<BenchRow[]> {
  const repository = new TestRepository(filesOf(size));
  try {
    const plain = plainSteps(repository);
    const governed: number[] = [];
    const start = performance.now();
    let at = start;
    let before = 0;
    let back = 0;
    const request = requestOf(
      Array.from({ length: STEPS }, (_, step) => [write(`governed/file-${step}.txt`, `${step}\n`)]),
    );
    const policy = { limits: { max_file_size_mb: 1, max_files: 1000, timeout_seconds: 60 } };
    const { code } = await execute(repository, request, {
      policy,
      folder: join(repository.folder, "run"),
      onProgress: ({ event }) => {
        const now = performance.now();
        if (event === "step.started") {
          if (before === 0) before = now - start;
          at = now;
        }
        if (event === "step.completed") {
          governed.push(now - at);
          at = now;
        }
        if (event === "exec.brought_back") back = now - at;
      },
    });
    if (code !== "none") throw new Error(code);
    const [first = 0, ...others] = governed;
    return rowsOf(size, plain, { first, others, before, back });
  } finally {
    repository.dispose();
  }
}

function rowsOf(
  size: number,
  plain: readonly number[],
  run: { first: number; others: readonly number[]; before: number; back: number },
): BenchRow[] {
  const base = quantiles(plain);
  const own = quantiles(run.others);
  const name = `${size} files: `;
  return [
    { name: `${name}plain step`, values: { p50: round(base.p50), p99: round(base.p99) } },
    {
      name: `${name}governed step`,
      values: {
        p50: round(own.p50),
        p99: round(own.p99),
        "times plain": round(own.p50 / base.p50),
        "within 2x + 60": own.p50 <= 2 * base.p50 + 60 ? "yes" : "no",
      },
    },
    { name: `${name}until the first step`, values: { p50: round(run.before) } },
    { name: `${name}first step, with the work tree`, values: { p50: round(run.first) } },
    { name: `${name}bring-back of ${STEPS} commits`, values: { p50: round(run.back) } },
  ];
}

function plainSteps(repository: TestRepository): number[] {
  const other = join(repository.folder, "other");
  repository.git("worktree", "add", "-q", "--detach", other);
  const inOther = (args: readonly string[], input: string): void => {
    const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
    execFileSync("git", [...identity, ...args], { cwd: other, input });
  };
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
  repository.git("worktree", "remove", "--force", other);
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
