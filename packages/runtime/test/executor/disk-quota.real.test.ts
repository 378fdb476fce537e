import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytesBelow, watchWrites } from "../../src/executor/disk-quota.ts";
import { SmallDisk } from "../support/small-disk.ts";

const MEBIBYTE = 1024 * 1024;

let folder: string;
let root: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-watch-"));
  root = join(folder, "tree");
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(join(root, "sub/before"), Buffer.alloc(4 * MEBIBYTE, 1));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const write = (path: string, bytes: number): void => {
  writeFileSync(path, Buffer.alloc(bytes, 1));
};
const aborted = (signal: AbortSignal): Promise<string> =>
  new Promise((resolve) => {
    signal.addEventListener("abort", () => {
      resolve("stopped");
    });
  });

describe("what a command writes", () => {
  it("ends it when it is too much", async () => {
    const watched = watchWrites([root], MEBIBYTE, (full) => {
      write(join(root, "sub/more"), 2 * MEBIBYTE);
      return aborted(full);
    });
    await expect(watched).rejects.toMatchObject({ code: "ERR_CHANGE_TOTAL" });
  });

  it("is seen also when it came right before its end", async () => {
    const watched = watchWrites([root], MEBIBYTE, () => {
      write(join(root, "more"), 2 * MEBIBYTE);
      return Promise.resolve("done");
    });
    await expect(watched).rejects.toMatchObject({ code: "ERR_CHANGE_TOTAL" });
  });

  it("is not what others write to the same disk meanwhile", async () => {
    const watched = watchWrites([root], MEBIBYTE, async (full) => {
      for (let round = 0; round < 8; round++) {
        write(join(folder, `others-${round}`), 8 * MEBIBYTE);
        await new Promise((later) => setTimeout(later, 40));
      }
      return full.aborted;
    });
    expect(await watched).toBe(false);
  });

  it("is each file once, and nothing that a link leads to", async () => {
    const before = await bytesBelow(root);
    linkSync(join(root, "sub/before"), join(root, "sub/twin"));
    symlinkSync(folder, join(root, "out"));
    write(join(folder, "others"), 4 * MEBIBYTE);
    const after = await bytesBelow(root);
    expect(after - before).toBeLessThan(MEBIBYTE);
    expect(await bytesBelow(join(root, "not-there"))).toBe(0);
  });
});

describe("a folder at which nobody can look any more", () => {
  const away = (): void => {
    renameSync(root, `${root}.away`);
  };
  const lost: readonly (readonly [string, () => void])[] = [
    ["is gone", away],
    [
      "is a file",
      () => {
        away();
        write(root, 1);
      },
    ],
    [
      "is a link to itself elsewhere",
      () => {
        away();
        symlinkSync(`${root}.away`, root);
      },
    ],
    [
      "is another one",
      () => {
        away();
        mkdirSync(root);
      },
    ],
    ...(process.getuid?.() === 0
      ? []
      : [
          [
            "cannot be read",
            (): void => {
              chmodSync(root, 0);
            },
          ] as const,
        ]),
  ];

  it.each(lost)("ends the command when it %s", async (_, lose) => {
    const watched = watchWrites([root], MEBIBYTE, (full) => {
      lose();
      return aborted(full);
    });
    await expect(watched).rejects.toMatchObject({ code: "ERR_CHANGE_UNWATCHED" });
  });

  it.each(lost)("takes nothing of a command that ended before it %s", async (_, lose) => {
    const watched = watchWrites([root], MEBIBYTE, () => {
      lose();
      return Promise.resolve("done");
    });
    await expect(watched).rejects.toMatchObject({ code: "ERR_CHANGE_UNWATCHED" });
  });

  it("lets no command begin where it is not there", async () => {
    let began = false;
    const watched = watchWrites([join(root, "nowhere")], MEBIBYTE, () => {
      began = true;
      return Promise.resolve("done");
    });
    await expect(watched).rejects.toMatchObject({ code: "ERR_CHANGE_UNWATCHED" });
    expect(began).toBe(false);
  });

  it("leaves no rejection behind when the command fails, too", async () => {
    const loose: unknown[] = [];
    const note = (error: unknown): void => {
      loose.push(error);
    };
    process.on("unhandledRejection", note);
    const watched = watchWrites([root, join(root, "sub")], MEBIBYTE, async (full) => {
      away();
      await aborted(full);
      throw new Error("its own failure");
    });
    await expect(watched).rejects.toThrow("its own failure");
    await new Promise((later) => setTimeout(later, 120));
    process.off("unhandledRejection", note);
    expect(loose).toEqual([]);
  });
});

describe.skipIf(process.getuid?.() !== 0)(
  "a disk that runs out (needs root, for a small one)",
  () => {
    let disk: SmallDisk | null;
    beforeEach(() => {
      disk = SmallDisk.mount(64);
    });
    afterEach(() => {
      disk?.unmount();
    });

    it("stops a command by another code, whoever took the room, and lets none begin", async () => {
      if (disk === null) throw new Error("no small disk could be mounted");
      const path = join(disk.path, "tree");
      mkdirSync(path);
      const fill = disk.fill.bind(disk);
      const watched = watchWrites([path], MEBIBYTE * 1024, (full) => {
        fill(MEBIBYTE);
        return aborted(full);
      });
      await expect(watched).rejects.toMatchObject({ code: "ERR_DISK_LOW" });
      const late = watchWrites([path], MEBIBYTE, () => Promise.reject(new Error("it began")));
      await expect(late).rejects.toMatchObject({ code: "ERR_DISK_LOW" });
      disk.empty();
      expect(await watchWrites([path], MEBIBYTE, () => Promise.resolve("done"))).toBe("done");
      // What a command makes of it that has no room left is not told as the command's own failure.
      const starved = watchWrites([path], MEBIBYTE, () => {
        fill(MEBIBYTE);
        return Promise.resolve("exit 1");
      });
      await expect(starved).rejects.toMatchObject({ code: "ERR_DISK_LOW" });
    });
  },
);
