import { scopeJudge, scopeProblem } from "@sovereign/core";
import { describe, expect, it } from "vitest";

function allows(path: string, allowed: string[], forbidden: string[] = []): boolean {
  const scope = { allowed_directories: allowed, forbidden_paths: forbidden };
  return scopeProblem(path, scope) === null;
}

describe("the scope of a task", () => {
  it.each([
    ["src/a.ts", ["src"]],
    ["src/deep/er/a.ts", ["src"]],
    ["src/deep/a.ts", ["src/**"]],
    ["src", ["src"]],
    ["a.txt", ["."]],
    ["docs/one.md", ["docs/*.md"]],
    ["x/y/z/test/a", ["**/test"]],
    ["test/a", ["**/test"]],
    ["a/b", ["a*"]],
  ])("holds %s within %j", (path, allowed) => {
    expect(allows(path, allowed)).toBe(true);
  });

  it.each([
    ["srcs/a.ts", ["src"]],
    ["SRC/a.ts", ["src"]],
    ["other/src/a.ts", ["src"]],
    ["docs", ["docs/*.md"]],
    ["docs/deep/one.md", ["docs/*.md"]],
    ["a.txt", ["src", "docs/**"]],
    ["a", []],
  ])("keeps %s out of %j", (path, allowed) => {
    expect(allows(path, allowed)).toBe(false);
  });

  it.each([
    ["secrets/key", "secrets"],
    // What a file system without cases, or one that drops what cannot be seen, takes for the same.
    ["Secrets/key", "secrets"],
    ["secr\u200bets/key", "secrets"],
    ["keys/a.PEM", "*.pem"],
    ["deep/er/.env", ".env"],
    ["deep/er/.env/x", ".env"],
    ["src/gen/a", "src/gen"],
    ["src/gen/a", "src/**"],
    ["a", "."],
  ])("forbids %s by %s, whatever is allowed", (path, forbidden) => {
    expect(allows(path, ["."], [forbidden])).toBe(false);
  });

  it("lets a forbidden path with a slash stand at the root alone", () => {
    expect(allows("x/src/gen/a", ["."], ["src/gen"])).toBe(true);
  });

  it.each([
    ["a-x-b", "a*x*b"],
    ["axb", "a*x*b"],
    ["aXxb", "*x*"],
    ["anything", "**"],
    ["a/b/c/d", "**/b/**/d"],
    ["a/b/x/y/d/below", "**/b/**/d"],
    ["b/d", "**/b/**/d"],
  ])("holds %s within %s", (path, pattern) => {
    expect(allows(path, [pattern])).toBe(true);
  });

  it.each([
    ["ab", "a*ab"],
    ["a-b-x", "a*x*b"],
    ["a/b/c", "**/b/**/d"],
  ])("keeps %s out of %s", (path, pattern) => {
    expect(allows(path, [pattern])).toBe(false);
  });

  it("answers in time to patterns and names that are made to be slow", () => {
    const allowed_directories = Array.from({ length: 100 }, () => `${"**/a*a*a*/".repeat(12)}b`);
    const scope = { allowed_directories, forbidden_paths: allowed_directories };
    const deep = Array.from({ length: 500 }, (_, at) => `a${at}a`).join("/");
    const long = "a".repeat(1000);
    for (let times = 0; times < 20; times++) {
      expect(scopeProblem(`${deep}/${times}`, scope)).not.toBeNull();
      expect(scopeProblem(`${long}/${times}`, scope)).not.toBeNull();
    }
  }, 10_000);

  it("costs a step for each name and pattern, and nothing more once the bound is reached", () => {
    const wild = Array.from({ length: 100 }, (_, at) => `**/*${at}*x*/**/z`);
    const scope = { allowed_directories: wild, forbidden_paths: wild };
    const pathOf = (at: number): string =>
      Array.from({ length: 300 }, (_, deep) => `${at}-${deep}`).join("/");
    const work = { left: 1_000_000 };
    const problemOf = scopeJudge(scope, work);
    let before = work.left;
    let paths = 0;
    for (; work.left > 0; paths++) {
      expect(problemOf(pathOf(paths))).toMatch(/forbidden|none of/);
      // Two lists of a hundred patterns, with a wildcard each, over three hundred names.
      expect(before - work.left).toBeLessThanOrEqual(2 * 300 * 100 * 2);
      before = work.left;
    }
    expect(paths).toBeGreaterThan(5);
    for (let more = 0; more < 1000; more++) {
      expect(problemOf(pathOf(paths + more))).toMatch(/more names than a scope/);
    }
    expect(work.left).toBe(before);
  });

  it("costs nothing for names that were seen, and the same for the same files", () => {
    const scope = { allowed_directories: ["src/*.ts"], forbidden_paths: ["*.pem"] };
    const costOf = (paths: readonly string[]): number => {
      const work = { left: 1_000_000 };
      const problemOf = scopeJudge(scope, work);
      for (const path of paths) problemOf(path);
      return 1_000_000 - work.left;
    };
    expect(costOf(["src/a.ts", "src/a.ts"])).toBeLessThan(2 * costOf(["src/a.ts"]));
    expect(costOf(["src/a.ts", "b/c"])).toBe(costOf(["src/a.ts", "b/c"]));
  });
});
