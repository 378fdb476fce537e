import { readFileSync } from "node:fs";
import { bringBack } from "../../../src/executor/repository/bring-back.ts";
import { rollBack } from "../../../src/executor/repository/rollback.ts";
import { inspectRepository, readHead } from "../../../src/executor/git/index.ts";

// Brings back, and is killed after the step that it was told; its git before it, where it is asked.
interface Task {
  root: string;
  folder: string;
  at: string;
  gitToo?: boolean;
  /** Moves back from one commit to the other instead, for a rollback. */
  back?: { base: string; head: string };
  patches: { stepId: string; patch: string; sha256: string; commit: string; tree: string }[];
}
const task = JSON.parse(process.argv[2] ?? "") as Task;
const repository = await inspectRepository(task.root);
const onStep = (step: string): void => {
  if (step !== task.at) return;
  if (task.gitToo === true) for (const pid of children()) process.kill(pid, "SIGKILL");
  process.kill(process.pid, "SIGKILL");
};
const at = 1_800_000_000;
const { folder, back } = task;
if (back !== undefined) {
  await rollBack({ ...back, repository, ref: "refs/heads/main", folder, at, onStep });
} else {
  await bringBack({
    repository,
    base: await readHead(repository),
    patches: task.patches.map((one) => ({ ...one, patch: Buffer.from(one.patch, "base64") })),
    folder,
    switchFolder: `${folder}/switch`,
    run: `run_${"e".repeat(20)}`,
    at,
    onStep,
  });
}

function children(): number[] {
  const path = `/proc/${process.pid}/task/${process.pid}/children`;
  return readFileSync(path, "utf8").trim().split(" ").filter(Boolean).map(Number);
}
