import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  forgetResult,
  inspectRepository,
  reopenRepository,
  resultAt,
} from "../../../src/executor/git/index.ts";
import { TestRepository } from "../support/repository.ts";

const REF = "refs/heads/sovereign/run";

let repo: TestRepository;
let result: string;
beforeEach(() => {
  repo = new TestRepository();
  repo.git("checkout", "-q", "-b", "sovereign/run");
  repo.git("commit", "-q", "--allow-empty", "-m", "the result");
  result = repo.git("rev-parse", "HEAD");
  repo.git("checkout", "-q", "main");
});
afterEach(() => {
  repo.dispose();
});

it("goes where it still names the result", async () => {
  const user = await inspectRepository(repo.root);
  expect(await forgetResult(user, REF, result)).toBeNull();
  expect(await resultAt(user, REF)).toBeNull();
  expect(await forgetResult(user, REF, result)).toBeNull();
});

it.each<[string, RegExp, readonly (readonly string[])[]]>([
  [
    "the user committed on it",
    /which is not ours/,
    [
      ["checkout", "-q", "sovereign/run"],
      ["commit", "-q", "--allow-empty", "-m", "mine"],
      ["checkout", "-q", "main"],
    ],
  ],
  ["the user moved it", /which is not ours/, [["branch", "-f", "sovereign/run", "main"]]],
  ["it is checked out", /is checked out in/, [["checkout", "-q", "sovereign/run"]]],
  [
    "a linked work tree has it checked out",
    /is checked out in .*linked/,
    [["worktree", "add", "-q", "linked", "sovereign/run"]],
  ],
])("stays where %s", async (_, why, commands) => {
  for (const [name = "", ...words] of commands) {
    repo.git(name, ...words.map((word) => (word === "linked" ? join(repo.private, word) : word)));
  }
  const before = repo.git("for-each-ref", "--format=%(objectname) %(refname)");
  const user = await inspectRepository(repo.root);
  expect(await forgetResult(user, REF, result)).toMatch(why);
  expect(repo.git("for-each-ref", "--format=%(objectname) %(refname)")).toBe(before);
});

it("is looked for at the recorded root alone, whatever repository stands around it", async () => {
  const linked = join(repo.root, "wt");
  repo.git("worktree", "add", "-q", "-b", "linked", linked);
  expect((await reopenRepository(linked)).root).toBe(linked);
  repo.git("worktree", "remove", "--force", linked);
  mkdirSync(linked);
  expect((await inspectRepository(linked)).root).toBe(repo.root);
  await expect(reopenRepository(linked)).rejects.toMatchObject({ code: "ERR_REPOSITORY_REFUSED" });
});
