import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writingNamed } from "../../src/system/named-file.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-out-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const UNWRITABLE = { code: "ERR_FILE_UNWRITABLE", exitCode: 2 };
const write = (path: string, more: Parameters<typeof writingNamed>[2] = {}): Promise<void> =>
  writingNamed(
    path,
    (file) => {
      file.write("one ");
      file.write(Buffer.from("two"));
    },
    more,
  );

describe("a file that a person names for a result", () => {
  it("is whole or as it was, and nothing is left beside it", async () => {
    const path = join(folder, "out.json");
    await write(path);
    expect(readFileSync(path, "utf8")).toBe("one two");
    const failing = writingNamed(path, (file) => {
      file.write("half of ");
      throw new Error("the work failed");
    });
    await expect(failing).rejects.toThrow("the work failed");
    expect(readFileSync(path, "utf8")).toBe("one two");
    expect(readdirSync(folder)).toEqual(["out.json"]);
  });

  it.each<[string, () => string, RegExp]>([
    ["a folder", () => folder, /it is a folder; name a file in it/],
    ["in a folder that is not there", () => join(folder, "no", "x"), /no such file or folder/],
    ["in a file", () => join(folder, "file", "x"), /a part of its path is no folder/],
    ["a full device", () => "/dev/full", /no space is left there/],
    ["a pipe that nobody reads", () => join(folder, "pipe"), /a pipe that nobody reads/],
    ["a link to itself", () => join(folder, "loop"), /leads to itself/],
    ["in the kernel's own files", () => "/proc/self/x", /Cannot write/],
    ["too long a name", () => join(folder, "x".repeat(300)), /its name is too long/],
  ])("is refused before or without a trace where it is %s", async (_, path, why) => {
    writeFileSync(join(folder, "file"), "");
    execFileSync("mkfifo", [join(folder, "pipe")]);
    symlinkSync(join(folder, "loop"), join(folder, "loop"));
    const before = readdirSync(folder).sort();
    const refused = write(path());
    await expect(refused).rejects.toMatchObject(UNWRITABLE);
    await expect(refused).rejects.toThrow(why);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  it("is refused before the work where its name says another format, or it is there", async () => {
    let worked = 0;
    const work = (): void => {
      worked += 1;
    };
    const path = join(folder, "x.tar");
    await expect(writingNamed(path, work, { endings: [".json", ".zip"] })).rejects.toThrow(
      /ends with \.json or \.zip/,
    );
    writeFileSync(path, "kept");
    await expect(writingNamed(path, work, { fresh: true })).rejects.toThrow(/it is there already/);
    expect(worked).toBe(0);
    expect(readFileSync(path, "utf8")).toBe("kept");
  });

  it("does not replace what came while it was made", async () => {
    const path = join(folder, "fresh");
    const late = writingNamed(
      path,
      () => {
        writeFileSync(path, "another's");
      },
      { fresh: true },
    );
    await expect(late).rejects.toMatchObject(UNWRITABLE);
    expect(readFileSync(path, "utf8")).toBe("another's");
    expect(readdirSync(folder)).toEqual(["fresh"]);
  });

  it("follows a link to a file, which stays a link", async () => {
    mkdirSync(join(folder, "there"));
    writeFileSync(join(folder, "there", "file"), "old");
    symlinkSync(join(folder, "there", "file"), join(folder, "link"));
    await write(join(folder, "link"));
    expect(lstatSync(join(folder, "link")).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(folder, "there", "file"), "utf8")).toBe("one two");
  });
});
