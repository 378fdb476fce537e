import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Git, inspectRepository } from "../../../src/executor/git/index.ts";
import { copyIndex } from "../../../src/executor/repository/index-copy.ts";
import { unlockIndex } from "../../../src/executor/repository/index-lock.ts";
import { TestRepository } from "../support/repository.ts";

/** Far less than what git would wait. */
const HANG_MS = 20_000;
const inGit = (name: string): string => join(repo.root, ".git", name);
let repo: TestRepository;
let saved: string;
beforeAll(() => {
  repo = new TestRepository();
  repo.git("pack-refs", "--all");
  saved = join(repo.folder, "saved");
  cpSync(inGit("."), saved, { recursive: true });
});
afterAll(() => {
  repo.dispose();
});
afterEach(() => {
  rmSync(inGit("."), { recursive: true });
  cpSync(saved, inGit("."), { recursive: true });
});

function clear(path: string): void {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
}

const fifo = (path: string): void => {
  clear(path);
  execFileSync("mkfifo", [path]);
};
const linkToFifo = (path: string): void => {
  fifo(join(repo.folder, "fifo"));
  clear(path);
  symlinkSync(join(repo.folder, "fifo"), path);
};
const device = (path: string): void => {
  clear(path);
  symlinkSync("/dev/zero", path);
};
/** Of eight terabytes, and without content. */
const sparse = (path: string): void => {
  clear(path);
  writeFileSync(path, "");
  truncateSync(path, 8 * 1024 ** 4);
};

async function refusal(): Promise<string> {
  const work = inspectRepository(repo.root);
  await expect(work).rejects.toMatchObject({ code: "ERR_REPOSITORY_REFUSED" });
  return work.then(
    () => "",
    (error: unknown) => (error as Error).message,
  );
}

const READ = [
  "HEAD",
  "config",
  "config.worktree",
  "commondir",
  "index",
  "index.lock",
  "shallow",
  "packed-refs",
  "packed-refs.lock",
  "info/exclude",
  "info/attributes",
  "info/grafts",
  "info/sparse-checkout",
  "objects/info/alternates",
  "objects/info/commit-graph",
  "refs/heads/main",
  "refs/heads/main.lock",
  "refs/tags/deep/one",
  "worktrees/other/HEAD",
  "worktrees/other/gitdir",
];
/** Appended to, or with sizes of their own. */
const OPENED = [
  "logs/HEAD",
  "logs/refs/heads/main",
  "objects/pack/pack-0000000000000000000000000000000000000000.idx",
  `objects/00/${"0".repeat(38)}`,
  "refs/sovereign/x/base",
];

describe("a repository in which git would wait for ever, or read without end", () => {
  it.each(READ)("is refused, and %s is named", { timeout: HANG_MS }, async (name) => {
    for (const plant of [fifo, linkToFifo, device, sparse]) {
      plant(inGit(name));
      const said = await refusal();
      expect(said).toContain(inGit(name));
      expect(said).not.toContain("\n");
      clear(inGit(name));
      if (existsSync(join(saved, name))) cpSync(join(saved, name), inGit(name));
    }
  });

  it.each(OPENED)("is refused, and %s is named, too", { timeout: HANG_MS }, async (name) => {
    for (const plant of [fifo, device]) {
      plant(inGit(name));
      expect(await refusal()).toContain(inGit(name));
      clear(inGit(name));
    }
  });

  it("is refused for what it borrows, and what that borrows", { timeout: HANG_MS }, async () => {
    const [one, two] = ["one", "two"].map((name) => join(repo.folder, name)) as [string, string];
    mkdirSync(join(one, "info"), { recursive: true });
    mkdirSync(join(two, "pack"), { recursive: true });
    writeFileSync(inGit("objects/info/alternates"), `${one}\n`);
    writeFileSync(join(one, "info/alternates"), "../two\n");
    fifo(join(two, "pack/pack-1.idx"));
    expect(await refusal()).toContain(join(two, "pack/pack-1.idx"));
  });

  it.each([
    ["[include]\npath = FIFO\n", "absolute"],
    ['[include] path = "../../fifo" # so\n', "relative to the file, on the section's own line"],
    ['[includeIf "gitdir:/[a]/"]\n\tpath = \\\nFIFO\n', "under a condition, on a second line"],
    ["[include]\npath = ../../more\n", "by a file that is included itself"],
    ["[include]\r\npath = FIFO\r\n", "in lines that end as those of Windows"],
    ["[x][include]path=FIFO#so\n", "with several sections in a line, and no room"],
    ["[include]\n# so \\\npath = FIFO\n", "behind a comment, which is never continued"],
    ['[include]\npath = "FI"FO\n', "in quotes that end in its middle"],
    [`[include]\npath = config\n`.repeat(40), "and itself, many times"],
  ])("is refused where it includes a FIFO: %j", { timeout: HANG_MS }, async (text) => {
    const pipe = join(repo.folder, "fifo");
    fifo(pipe);
    writeFileSync(join(repo.folder, "more"), `[include]\npath = ${pipe}\n`);
    if (!text.includes("FI")) appendFileSync(inGit("config"), `[include]\npath = ${pipe}\n`);
    const middle = `${pipe.slice(0, 4)}"${pipe.slice(4)}`;
    appendFileSync(inGit("config"), text.replace('FI"FO', middle).replace("FIFO", pipe));
    expect(await refusal()).toMatch(/fifo is a FIFO \(.*config/);
  });
});

describe("a repository that names itself, or others without end", () => {
  const alternates = (text: string): void => {
    writeFileSync(inGit("objects/info/alternates"), text);
  };
  const config = (text: string): void => {
    appendFileSync(inGit("config"), text);
  };

  it.each<[string, () => void]>([
    [
      "that it borrows from itself",
      () => {
        alternates(".\n".repeat(500_000));
      },
    ],
    [
      "that it includes itself, where nobody is",
      () => {
        config('[includeIf "gitdir:/nonexistent"]\n\tpath = config\n'.repeat(40));
      },
    ],
    [
      "that a setting has a lot of room",
      () => {
        config(
          `[include]\n\tpath =${" ".repeat(200_000)}\u2028\n[x]\n\ty = #${" ;".repeat(200_000)}\n`,
        );
      },
    ],
  ])("is looked at once: %s", { timeout: HANG_MS }, async (_, make) => {
    make();
    expect(await inspectRepository(repo.root)).toMatchObject({ root: repo.root });
  });

  it.each<[string, () => void]>([
    [
      "folders that borrow from others",
      () => {
        alternates(Array.from({ length: 1001 }, (__, at) => `none${at}\n`).join(""));
      },
    ],
    [
      "a folder that has another name each time",
      () => {
        symlinkSync(".", inGit("objects/a"));
        alternates(Array.from({ length: 1001 }, (__, at) => `${"a/".repeat(at + 1)}\n`).join(""));
      },
    ],
    [
      "files of settings",
      () => {
        config(Array.from({ length: 1001 }, (__, at) => `[include] path = f${at}\n`).join(""));
      },
    ],
    [
      "long files of settings",
      () => {
        for (let at = 0; at < 6; at++) writeFileSync(inGit(`f${at}`), " ".repeat(1_000_000));
        config(Array.from({ length: 6 }, (__, at) => `[include] path = f${at}\n`).join(""));
      },
    ],
  ])("is refused for too many: %s", { timeout: HANG_MS }, async (_, make) => {
    make();
    expect(await refusal()).toMatch(/ leads to (more than 1000|others, with more than)/);
  });
});

describe("a repository with what is usual", () => {
  it("is worked on: git's own sockets, programs in settings, large files that git does not read", async () => {
    const daemon = createServer().listen(inGit("fsmonitor--daemon.ipc"));
    await once(daemon, "listening");
    appendFileSync(
      inGit("config"),
      '[difftool "x"]\npath = /usr/bin/git\n[include]\npath = none\n',
    );
    sparse(inGit("some-tool.cache"));
    fifo(inGit("modules/sub/HEAD"));
    expect(await inspectRepository(repo.root)).toMatchObject({ root: repo.root });
    daemon.close();
  });
});

describe("what is put there after the look", () => {
  beforeEach(async () => {
    await inspectRepository(repo.root);
  });

  it("keeps nobody waiting who copies the index, or lets a lock of it go", async () => {
    const repository = await inspectRepository(repo.root);
    fifo(repository.index);
    expect(() => {
      copyIndex(repository, join(repo.folder, "copy"));
    }).toThrow(repository.index);
    fifo(`${repository.index}.lock`);
    unlockIndex({ path: `${repository.index}.lock`, mark: "sovereign x\n" });
    expect(existsSync(`${repository.index}.lock`)).toBe(true);
  });

  it("ends with the limit of the git that waits for it, which names it", {
    timeout: HANG_MS,
  }, async () => {
    fifo(inGit("HEAD"));
    const work = new Git({ gitDir: inGit(".").replace(/\/\.$/, "") }).text(["rev-parse", "HEAD"], {
      timeoutMs: 500,
    });
    await expect(work).rejects.toMatchObject({ code: "ERR_GIT_LIMIT" });
    await expect(work).rejects.toThrow(`${inGit("HEAD")} is a FIFO`);
    expect(readFileSync(join(saved, "HEAD"), "utf8")).toContain("ref:");
  });
});
