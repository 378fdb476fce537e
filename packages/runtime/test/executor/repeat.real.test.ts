import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { execute, requestOf, sh, write } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

let repo: TestRepository;
afterEach(() => {
  repo.dispose();
});

it("a request that runs twice on one base gives the same commits, trees and patches", async () => {
  repo = new TestRepository();
  const base = repo.git("rev-parse", "HEAD");
  const request = requestOf([
    [write("docs/new.md", "new\n"), sh("echo more >> docs/guide.md")],
    [{ action: "delete_file", params: { path: "docs/new.md" } }],
  ]);
  const once = async (name: string): Promise<unknown> => {
    repo.git("reset", "-q", "--hard", base);
    const { code, run } = await execute(repo, request, { folder: join(repo.folder, name) });
    expect(code).toBe("none");
    expect(repo.git("rev-parse", "HEAD")).toBe(run.done.steps.at(-1)?.commit);
    return run.done.steps;
  };
  const first = await once("first");
  expect(first).toHaveLength(2);
  expect(await once("second")).toEqual(first);
});
