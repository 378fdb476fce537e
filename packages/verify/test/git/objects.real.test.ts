import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openGitRepository, placesOf } from "../../src/git/index.ts";
import { PlainRepository } from "../support/repository.ts";

const made: PlainRepository[] = [];
let long: PlainRepository;
beforeAll(() => {
  long = withHistory(60);
  made.splice(0);
});
afterAll(() => {
  long.dispose();
});
afterEach(() => {
  for (const one of made.splice(0)) one.dispose();
});

function repository(format = "sha1"): PlainRepository {
  const one = new PlainRepository(format);
  made.push(one);
  return one;
}

/** A file of many lines that changes a little with each commit: git packs it as deltas of deltas. */
function withHistory(commits: number, format = "sha1"): PlainRepository {
  const repo = repository(format);
  const lines = Array.from({ length: 400 }, (_, line) => `line ${line} ${"x".repeat(line % 60)}`);
  for (let number = 0; number < commits; number++) {
    lines[(number * 37) % lines.length] = `commit ${number}`;
    repo.write("deep/folder/file.txt", `${lines.join("\n")}\n`);
    repo.write(`f${number % 5}`, `small ${number}\n`);
    repo.commit(`commit ${number}`);
  }
  repo.git("tag", "-a", "v1", "-m", "a tag");
  repo.git("branch", "other", "HEAD~1");
  return repo;
}

/** Everything that git has, read by us: the same types and bytes. */
function expectTheSame(repo: PlainRepository, folder = repo.root): number {
  const { objects } = openGitRepository(folder);
  const all = repo.everything(folder);
  for (const { id, type, bytes } of all) {
    const found = objects.find(id);
    if (found?.type !== type || Buffer.compare(found.bytes, bytes) !== 0) {
      throw new Error(`${type} ${id} is read otherwise`);
    }
  }
  objects.close();
  return all.length;
}

describe("git's objects, read by us, are what git says", () => {
  it.each(["sha1", "sha256"])("loose and packed, %s", (format) => {
    const repo = withHistory(12, format);
    expect(expectTheSame(repo)).toBeGreaterThan(50);
    repo.git("gc", "-q");
    repo.write("later", "loose again\n");
    repo.commit("later");
    expect(expectTheSame(repo)).toBeGreaterThan(50);
  });

  it.each([
    ["chains of 60 deltas", ["repack", "-adfq", "--depth=250", "--window=250"]],
    ["gc --aggressive", ["gc", "-q", "--aggressive", "--prune=now"]],
    [
      "bases named by id",
      ["-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq", "--depth=250"],
    ],
    ["no deltas", ["repack", "-adfq", "--depth=0"]],
    ["stored, not packed", ["-c", "core.compression=0", "repack", "-adfFq"]],
  ])("%s", (_, args) => {
    const repo = repository();
    cpSync(join(long.root, ".git"), join(repo.root, ".git"), { recursive: true, force: true });
    repo.git(...args);
    repo.git("prune-packed");
    expect(repo.git("count-objects", "-v")).toContain("count: 0");
    expect(expectTheSame(repo)).toBeGreaterThan(200);
  });

  it("an index with offsets of 64 bits", () => {
    const repo = withHistory(20);
    repo.git("repack", "-adq");
    const folder = join(repo.root, ".git/objects/pack");
    for (const one of packNames(folder)) {
      repo.git("index-pack", "--index-version=2,0x40", one);
    }
    expect(expectTheSame(repo)).toBeGreaterThan(60);
  });

  it("borrowed through other repositories, in a linked work tree and in a bare one", () => {
    const repo = withHistory(10);
    const [shared, second, linked, bare] = ["shared", "second", "linked", "bare"].map((name) =>
      join(repo.folder, name),
    ) as [string, string, string, string];
    repo.git("clone", "-q", "--shared", repo.root, shared);
    repo.bytes(["clone", "-q", "--shared", shared, second]);
    repo.git("worktree", "add", "-q", "-b", "linked", linked);
    repo.git("clone", "-q", "--bare", "--shared", repo.root, bare);
    mkdirSync(join(linked, "below/it"), { recursive: true });
    for (const folder of [shared, second, linked, bare, join(linked, "below/it")]) {
      expect(expectTheSame(repo, folder)).toBeGreaterThan(40);
    }
    expect(openGitRepository(linked).refs.headBranch()).toBe("refs/heads/linked");
  });

  it("repositories that borrow from each other are read once", () => {
    const repo = withHistory(3);
    const shared = join(repo.folder, "shared");
    repo.git("clone", "-q", "--shared", repo.root, shared);
    const file = join(repo.root, ".git/objects/info/alternates");
    writeFileSync(file, `${join(shared, ".git/objects")}\n`);
    const { objects } = openGitRepository(shared);
    expect(objects.find("0".repeat(40))).toBeNull();
    expect(objects.find(repo.git("rev-parse", "HEAD"))?.type).toBe("commit");
  });

  it("of any content", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 12 }),
        fc.boolean(),
        (contents, packed) => {
          const repo = new PlainRepository();
          try {
            for (const [index, content] of contents.entries()) {
              repo.write("f", Buffer.concat([Buffer.alloc(500, "same"), content]));
              repo.write(`g${index}`, content);
              repo.commit(`c${index}`);
            }
            if (packed) repo.git("repack", "-adfq");
            expectTheSame(repo);
          } finally {
            repo.dispose();
          }
        },
      ),
      { numRuns: 8 },
    );
  });
});

describe("refs and history", () => {
  it.each([false, true])("are what git says, packed: %s", (packed) => {
    const repo = withHistory(4);
    repo.git("symbolic-ref", "refs/heads/alias", "refs/heads/other");
    if (packed) repo.git("pack-refs", "--all");
    const said = repo.git("for-each-ref", "--format=%(objectname) %(refname)").split("\n");
    const { refs } = openGitRepository(repo.root);
    const found = refs.names().map((name) => `${refs.resolve(name) ?? ""} ${name}`);
    expect(found.toSorted()).toEqual(said.toSorted());
    expect(refs.headBranch()).toBe("refs/heads/main");
    expect(refs.resolve("HEAD")).toBe(repo.git("rev-parse", "HEAD"));
  });

  it("say where a commit stands: on the branch, on another, was, on none", () => {
    const repo = withHistory(4);
    const top = repo.git("rev-parse", "HEAD");
    const where = (id: string): string => {
      const opened = openGitRepository(repo.root);
      return placesOf(opened, [id], "refs/heads/main").get(id) ?? "";
    };
    expect(where(top)).toBe("on refs/heads/main");
    expect(where(repo.git("rev-parse", "HEAD~3"))).toBe("on refs/heads/main");
    repo.git("tag", "-d", "v1");
    repo.git("reset", "-q", "--hard", "HEAD~2");
    expect(where(repo.git("rev-parse", "other"))).toContain("on refs/heads/other, not on");
    expect(where(top)).toBe("was on refs/heads/main, now on no branch");
    const tree = repo.git("rev-parse", "HEAD^{tree}");
    const alone = repo.git("commit-tree", tree, "-m", "alone");
    expect(where(alone)).toBe("not on refs/heads/main, now on no branch");
    repo.git("tag", "-a", "kept", "-m", "it", alone);
    expect(where(alone)).toContain("on refs/tags/kept, not on");
  });

  it("of a shallow clone end where it does", () => {
    const repo = withHistory(6);
    const shallow = join(repo.folder, "shallow");
    repo.git("clone", "-q", "--depth=2", `file://${repo.root}`, shallow);
    const opened = openGitRepository(shallow);
    const [top, second, third] = ["HEAD", "HEAD~1", "HEAD~2"].map((one) =>
      repo.git("rev-parse", one),
    ) as [string, string, string];
    const places = placesOf(opened, [top, second], "refs/heads/main");
    expect([...places.values()]).toEqual(["on refs/heads/main", "on refs/heads/main"]);
    expect(opened.objects.find(third)).toBeNull();
  });
});

function packNames(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".pack"))
    .map((name) => join(folder, name));
}
