import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { socketFolder } from "../../src/store/socket-folder.ts";

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "sov-sockets-"));
});
afterEach(() => {
  rmSync(parent, { recursive: true, force: true });
});

const refuse = (path: string, found: string): Error => new Error(`${path} ${found}`);
const folderOf = (data: string): Promise<string> => socketFolder(data, refuse, parent);
function newData(name: string): string {
  const data = join(parent, name);
  mkdirSync(data);
  return data;
}

describe("the folder of a server's socket", () => {
  it("is one for a data folder, ours alone, and says whose it is", async () => {
    const data = newData("data");
    const path = await folderOf(data);
    expect(await folderOf(data)).toBe(path);
    expect(readFileSync(join(path, "folder"), "utf8")).toBe(data);
    chmodSync(path, 0o755);
    await expect(folderOf(data)).rejects.toThrow("open to others");
  });

  it("goes when its data folder is gone, and another is made", async () => {
    const [data, kept] = [newData("data"), newData("kept")];
    const [path, other] = [await folderOf(data), await folderOf(kept)];
    writeFileSync(join(path, ".s.PGSQL.5432.lock"), "1");
    rmSync(data, { recursive: true });
    await folderOf(newData("next"));
    expect([existsSync(path), existsSync(other)]).toEqual([false, true]);
  });

  it("stays while a server listens there, and with anything else in it", async () => {
    const [data, strange] = [newData("data"), newData("strange")];
    const [path, other] = [await folderOf(data), await folderOf(strange)];
    writeFileSync(join(other, "notes"), "mine");
    const server = createServer();
    await new Promise<void>((ready) => server.listen(join(path, ".s.PGSQL.5432"), ready));
    for (const one of [data, strange]) rmSync(one, { recursive: true });
    await folderOf(newData("next"));
    expect(existsSync(join(path, ".s.PGSQL.5432"))).toBe(true);
    expect(readFileSync(join(other, "notes"), "utf8")).toBe("mine");
    await new Promise((closed) => server.close(closed));
    await folderOf(newData("after"));
    expect(existsSync(path)).toBe(false);
  });

  it("stays where it names a folder that is not its own, or none", async () => {
    const forged = join(parent, `sovereign-${"0".repeat(16)}`);
    const nameless = join(parent, `sovereign-${"1".repeat(16)}`);
    for (const one of [forged, nameless]) mkdirSync(one, { mode: 0o700 });
    writeFileSync(join(forged, "folder"), "/nowhere");
    await folderOf(newData("next"));
    expect([existsSync(forged), existsSync(nameless)]).toEqual([true, true]);
  });
});
