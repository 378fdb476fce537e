import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import {
  createPrivateRepository,
  inspectRepository,
  readHead,
} from "../../../src/executor/git/index.ts";
import { TestRepository } from "../support/repository.ts";

const repo = new TestRepository();
afterEach(() => {
  repo.dispose();
});

it("is made anew where a git that was killed amid left its lock", async () => {
  const user = await inspectRepository(repo.root);
  const { commit } = await readHead(user);
  let locks = 0;
  const watch = setInterval(() => {
    if (locks > 0 || !existsSync(join(repo.private, "objects"))) return;
    locks += 1;
    writeFileSync(join(repo.private, "HEAD.lock"), "");
  }, 1);
  const git = await createPrivateRepository(repo.private, user, commit).finally(() => {
    clearInterval(watch);
  });
  expect(locks).toBe(1);
  expect(await git.text(["rev-parse", "HEAD"])).toBe(commit);
  expect(existsSync(join(repo.private, "HEAD.lock"))).toBe(false);
});
