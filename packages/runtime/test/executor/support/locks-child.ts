import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import type { UserRepository } from "../../../src/executor/git/index.ts";

// Moves a branch, and is killed just before the so-manieth call that changes a name.
interface Task {
  repository: UserRepository;
  from: string;
  to: string;
  at: number;
}
const { repository, from, to, at } = JSON.parse(process.argv[2] ?? "") as Task;
let calls = -Infinity;
for (const name of ["linkSync", "renameSync", "rmSync"] as const) {
  const real = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]): unknown => {
      calls += 1;
      if (calls === at) process.kill(process.pid, "SIGKILL");
      return real(...args);
    },
  });
}
const { withRefLocked } = await import("../../../src/executor/git/index.ts");
syncBuiltinESMExports();
calls = 0;
const move = { to, reason: "test", at: 1_800_000_000 };
const ref = "refs/heads/main";
await withRefLocked(repository, { ref, commit: from }, "work", move, () => true);
