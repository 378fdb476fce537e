import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { execute, requestOf, sh } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

const repo = new TestRepository();
afterEach(() => {
  repo.dispose();
});

it("the log of a command that says too much is cut at its limit, and ends by saying so", async () => {
  const folder = join(repo.folder, "run");
  const limits = { max_file_size_mb: 1, max_files: 10, timeout_seconds: 20, max_output_mb: 1 };
  const request = requestOf([[sh("while :; do echo too much of it; done")]]);
  const { code } = await execute(repo, request, { folder, policy: { limits } });
  expect(code).toBe("ERR_COMMAND_OUTPUT");
  const log = readFileSync(join(folder, "03_executor/logs/step_01.op_1.log"), "utf8");
  expect(log).toMatch(/^too much of it\n/);
  expect(log).toMatch(/\n\[sovereign: cut off: it said more than 1048576 bytes, its limit\]\n$/);
  expect(log.length).toBeLessThan(1048576 + 100);
});
