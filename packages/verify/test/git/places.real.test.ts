import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deflateSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type GitRepository, openGitRepository, placesOf } from "../../src/git/index.ts";
import { PlainRepository } from "../support/repository.ts";

let repo: PlainRepository;
beforeEach(() => {
  repo = new PlainRepository();
  repo.write("f", "content\n");
  repo.commit("one");
});
afterEach(() => {
  repo.dispose();
});

const dotGit = (...names: string[]): string => join(repo.root, ".git", ...names);
const looseOf = (id: string): string => dotGit("objects", id.slice(0, 2), id.slice(2));

describe("where a commit stands, which decides nothing", () => {
  const unknown = "not on refs/heads/main, its history is not whole here";

  it("is not known where HEAD, refs and a log are links or pipes", () => {
    const head = repo.git("rev-parse", "HEAD");
    for (const name of ["HEAD", "refs/heads/main", "logs/refs/heads/main"]) {
      rmSync(dotGit(name));
      execFileSync("mkfifo", [dotGit(name)]);
    }
    const places = placesOf(openGitRepository(repo.root), [head], "refs/heads/main");
    expect(places.get(head)).toBe(unknown);
  });

  it("is not known beside a ref to a commit with half a million parents", () => {
    const tree = repo.git("rev-parse", "HEAD^{tree}");
    const alone = repo.git("commit-tree", tree, "-m", "alone");
    const monster = commitWith(Array.from({ length: 500_000 }, (_, at) => idOf(at)));
    repo.git("update-ref", "refs/heads/z", alone);
    writeFileSync(dotGit("refs/heads/m"), `${monster}\n`);
    const places = placesOf(openGitRepository(repo.root), [alone], "refs/heads/main");
    expect(places.get(alone)).toBe(unknown);
  });

  it("is looked for in so many parents and no more", () => {
    const parents = new Array<string>(1_000_000).fill(repo.git("rev-parse", "HEAD"));
    const top = commitWith([...parents, commitWith([...parents, commitWith(parents)])]);
    writeFileSync(dotGit("refs/heads/m"), `${top}\n`);
    const wanted = "1".repeat(40);
    const places = placesOf(openGitRepository(repo.root), [wanted], "refs/heads/main");
    expect(places.get(wanted)).toBe(unknown);
  });

  it.each<[keyof GitRepository, string]>([
    ["refs", "resolve"],
    ["refs", "names"],
    ["refs", "history"],
    ["objects", "find"],
    ["objects", "read"],
    ["shallow", "has"],
  ])("is not known, whatever fails: %s.%s", (part, name) => {
    const opened = openGitRepository(repo.root);
    const broken = { ...opened, [part]: failing(opened[part] as object, name) };
    const wanted = "1".repeat(40);
    expect(placesOf(broken, [wanted], "refs/heads/main").get(wanted)).toBe(unknown);
  });

  /** The same, with one method that fails as no code of ours does. */
  function failing(part: object, name: string): unknown {
    return new Proxy(part, {
      get: (target, key) => {
        if (key === name) throw new RangeError("Maximum call stack size exceeded");
        const found: unknown = Reflect.get(target, key);
        return typeof found === "function" ? (found.bind(target) as unknown) : found;
      },
    });
  }

  function idOf(value: number): string {
    return value.toString(16).padStart(40, "0");
  }

  function commitWith(parents: readonly string[]): string {
    const tree = repo.git("rev-parse", "HEAD^{tree}");
    const lines = parents.map((id) => `parent ${id}\n`).join("");
    const who = "User <user@example.org> 1700000000 +0000\n";
    const text = `tree ${tree}\n${lines}author ${who}committer ${who}\n`;
    const bytes = Buffer.from(`commit ${text.length}\0${text}`);
    const id = createHash("sha1").update(bytes).digest("hex");
    mkdirSync(dirname(looseOf(id)), { recursive: true });
    writeFileSync(looseOf(id), deflateSync(bytes));
    return id;
  }
});
