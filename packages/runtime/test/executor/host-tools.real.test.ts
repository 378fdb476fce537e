import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { Git, inspectRepository, judgePatchSizes } from "../../src/executor/git/index.ts";
import { execute, requestOf } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

const MEBIBYTE = 1024 * 1024;
const LIMITS = { fileBytesMax: MEBIBYTE, totalBytesMax: 3 * MEBIBYTE };

let repository: TestRepository | null = null;
function make(...args: ConstructorParameters<typeof TestRepository>): TestRepository {
  repository = new TestRepository(...args);
  return repository;
}
afterEach(() => {
  repository?.dispose();
  repository = null;
});

/** As git writes it: from what is committed to what the file becomes. */
function patchTo(repo: TestRepository, path: string, content: Buffer): Buffer {
  repo.write(path, content);
  repo.git("add", "-N", path);
  const patch = Buffer.from(`${repo.git("diff", "--binary", "--full-index")}\n\n`);
  repo.git("reset", "-q", "--hard");
  return patch;
}

describe("a binary patch that says more than it is", () => {
  const noise = Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * at * 31) % 251));
  const bombs: [string, () => Buffer, string][] = [
    [
      "a whole content of nothing but zeros",
      () => patchTo(make({ a: "a" }), "big", Buffer.alloc(40 * MEBIBYTE)),
      "ERR_CHANGE_FILE_SIZE",
    ],
    [
      "a difference that copies one piece again and again",
      () => patchTo(make({ big: noise }), "big", Buffer.concat(Array(30).fill(noise) as Buffer[])),
      "ERR_CHANGE_FILE_SIZE",
    ],
    [
      "a size beyond all numbers",
      () => Buffer.from(`GIT binary patch\nliteral ${"9".repeat(30)}\nzcmZQzU|?Wi\n\n`),
      "ERR_CHANGE_FILE_SIZE",
    ],
    [
      "a size that is no number",
      () => Buffer.from("GIT binary patch\nliteral 0x10\nzcmZQzU|?Wi\n\n"),
      "ERR_CHANGE_FILE_SIZE",
    ],
    [
      "many that are large together",
      () => Buffer.from("GIT binary patch\nliteral 1000000\n\n".repeat(4)),
      "ERR_CHANGE_TOTAL",
    ],
    [
      "a difference that unpacks to more than it says",
      () => {
        const patch = patchTo(make({ big: noise }), "big", Buffer.concat([noise, noise]));
        return Buffer.from(patch.toString("latin1").replace(/delta \d+/, "delta 2"), "latin1");
      },
      "ERR_CHANGE_REFUSED",
    ],
  ];
  it.each(bombs)("is refused before git reads it: %s", (_, bomb, code) => {
    expect(() => {
      judgePatchSizes(bomb(), LIMITS);
    }).toThrow(expect.objectContaining({ code }) as Error);
  });

  it("is told from one that is as large as it may be, and from text", () => {
    const repo = make({ big: noise, text: "a\n" });
    const more = Buffer.concat([noise, noise]);
    judgePatchSizes(patchTo(repo, "big", more), LIMITS);
    judgePatchSizes(patchTo(repo, "text", Buffer.from("literal 99999999999\n")), LIMITS);
  });

  it("ends its step, and nothing of it is unpacked", async () => {
    const repo = make({ a: "a" });
    const patch = patchTo(repo, "big", Buffer.alloc(8 * MEBIBYTE)).toString("latin1");
    expect(patch.length).toBeLessThan(100_000);
    const operation = { action: "patch_file", params: { path: "big", patch } };
    const end = await execute(repo, requestOf([[operation]]));
    expect(end.code).toBe("ERR_CHANGE_FILE_SIZE");
  });
});

describe("a git of ours", () => {
  it("has a limit of memory, and says that it was that", async () => {
    const repo = make({ a: "a" });
    repo.write("big", Buffer.alloc(100 * MEBIBYTE));
    repo.git("add", "big");
    const { gitDir } = await inspectRepository(repo.root);
    const args = ["diff-index", "--cached", "--text", "--numstat", "HEAD"];
    const count = (memoryBytes: number): Promise<string> =>
      new Git({ gitDir }).text(args, { memoryBytes });
    await expect(count(32 * MEBIBYTE)).rejects.toMatchObject({ code: "ERR_GIT_LIMIT" });
    expect(await count(1024 * MEBIBYTE)).toBe("-\t-\tbig");
  });

  it("is not there: the message says how to have it", async () => {
    const repo = make();
    const gone = new Git({ gitDir: join(repo.root, ".git") });
    await expect(gone.bytes(["--exec-path=/nowhere", "no-such-command"])).rejects.toMatchObject({
      code: "ERR_GIT_FAILED",
    });
  });
});
