import { chmodSync, existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeHostile } from "../../src/executor/remove-hostile.ts";

let folder: string;
let root: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-remove-"));
  root = join(folder, "tree");
  mkdirSync(root);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("a tree that a command wrote", () => {
  it("goes, and nothing that its links lead to", async () => {
    mkdirSync(join(folder, "others"));
    writeFileSync(join(folder, "others/file"), "x");
    mkdirSync(join(root, "a/b/c"), { recursive: true });
    for (let file = 0; file < 300; file++) writeFileSync(join(root, `a/${file}`), "x");
    writeFileSync(join(root, "a/b/c/last"), "x");
    symlinkSync(join(folder, "others"), join(root, "a/link"));
    symlinkSync("/nowhere", join(root, "dangling"));
    await removeHostile(root);
    expect(existsSync(root)).toBe(false);
    expect(existsSync(join(folder, "others/file"))).toBe(true);
  });

  it("goes when its folders are closed", async () => {
    mkdirSync(join(root, "closed/inner"), { recursive: true });
    writeFileSync(join(root, "closed/inner/file"), "x");
    chmodSync(join(root, "closed/inner"), 0);
    chmodSync(join(root, "closed"), 0);
    await removeHostile(root);
    expect(existsSync(root)).toBe(false);
  });

  it("goes when a name is not UTF-8", async () => {
    const odd = Buffer.concat([Buffer.from(`${root}/odd-`), Buffer.from([0xff, 0xfe])]);
    mkdirSync(odd);
    writeFileSync(Buffer.concat([odd, Buffer.from("/file")]), "x");
    await removeHostile(root);
    expect(existsSync(root)).toBe(false);
  });

  it("goes when its paths are longer than a call takes", async () => {
    const start = process.cwd();
    const name = "d".repeat(200);
    try {
      process.chdir(root);
      for (let depth = 0; depth < 40; depth++) {
        mkdirSync(name);
        process.chdir(name);
        writeFileSync("file", "x");
      }
    } finally {
      process.chdir(start);
    }
    await removeHostile(root);
    expect(existsSync(root)).toBe(false);
  });

  it("stays when it is no folder: what a link leads to is another's", async () => {
    const link = join(folder, "link");
    symlinkSync(root, link);
    await removeHostile(link);
    await removeHostile(join(folder, "absent"));
    expect(existsSync(root)).toBe(true);
  });
});
