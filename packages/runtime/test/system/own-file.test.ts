import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  kindAt,
  makeOwnWritable,
  openOwnFile,
  openOwnLog,
  ownsFile,
  placeOwnFile,
  putAside,
  readOwnFile,
  removeAt,
  replaceOwnFile,
  requireOwnFile,
} from "../../src/system/index.ts";

let folder: string;
let path: string;
const servers: Server[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-files-"));
  path = join(folder, "file");
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

const REFUSED = expect.objectContaining({ code: "ERR_DATA_FOLDER" }) as unknown;
const isRoot = process.getuid?.() === 0;

it.each(["read", "update", "append"] as const)("to %s: names what is no folder", (use) => {
  writeFileSync(path, "");
  expect(() => openOwnFile(join(path, "below"), use)).toThrow(REFUSED);
  expect(() => openOwnFile(join(path, "below"), use)).toThrow(`${path}: expected a folder`);
});

const RUBBISH: readonly [string, string, () => void | Promise<void>][] = [
  ["named pipe", "a named pipe", () => void execFileSync("mkfifo", [path])],
  [
    "folder",
    "a folder",
    () => {
      mkdirSync(path);
    },
  ],
  [
    "symbolic link",
    "a link to a file",
    () => {
      writeFileSync(join(folder, "target"), "target");
      symlinkSync(join(folder, "target"), path);
    },
  ],
  [
    "symbolic link",
    "a link to nothing",
    () => {
      symlinkSync(join(folder, "nothing"), path);
    },
  ],
  [
    "socket",
    "a socket",
    () =>
      new Promise((listening) => {
        servers.push(createServer().listen(path, listening));
      }),
  ],
];

describe("a file of ours", () => {
  it.each(RUBBISH)("is not taken from what is no plain file: %s, %s", async (kind, _, make) => {
    await make();
    expect(kindAt(path)).toBe(kind);
    expect(ownsFile(path)).toBe(false);
    expect(() => readOwnFile(path, 100)).toThrow(REFUSED);
    for (const use of ["read", "update", "append"] as const) {
      expect(() => openOwnFile(path, use)).toThrow(REFUSED);
    }
    expect(() => openOwnFile(path, "create")).toThrow(expect.objectContaining({ code: "EEXIST" }));
    expect(existsSync(join(folder, "nothing"))).toBe(false);
    // It can be replaced all the same, and what it led to stays as it was.
    replaceOwnFile(path, "ours");
    expect(readOwnFile(path, 100)?.toString()).toBe("ours");
    if (existsSync(join(folder, "target"))) {
      expect(readFileSync(join(folder, "target"), "utf8")).toBe("target");
    }
  });

  it.runIf(isRoot)("is not taken from a device, and not from another user", () => {
    execFileSync("mknod", [path, "c", "1", "5"]);
    expect(() => readOwnFile(path, 100)).toThrow(REFUSED);
    rmSync(path);
    writeFileSync(path, "foreign");
    chownSync(path, 65_534, 65_534);
    expect(() => readOwnFile(path, 100)).toThrow(REFUSED);
    chownSync(folder, 65_534, 65_534);
    expect(readOwnFile(path, 100)?.toString()).toBe("foreign");
  });

  it("is not written where it has another name, too", () => {
    writeFileSync(join(folder, "other"), "precious");
    linkSync(join(folder, "other"), path);
    for (const use of ["update", "append"] as const) {
      expect(() => openOwnFile(path, use)).toThrow(REFUSED);
    }
    replaceOwnFile(path, "ours");
    expect(readFileSync(join(folder, "other"), "utf8")).toBe("precious");
  });

  it("is absent, or read up to a size", () => {
    expect(readOwnFile(path, 100)).toBeNull();
    expect(kindAt(path)).toBeNull();
    expect(() => openOwnFile(path, "update")).toThrow(expect.objectContaining({ code: "ENOENT" }));
    writeFileSync(path, "x".repeat(100));
    expect(readOwnFile(path, 100)).toHaveLength(100);
    expect(() => readOwnFile(path, 99)).toThrow(REFUSED);
  });

  it("is made for its owner alone, and leaves nothing beside it", () => {
    closeSync(openOwnFile(path, "append"));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    replaceOwnFile(path, new Uint8Array([1, 2, 3]));
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("gets its name once, whole, and never in the place of another", () => {
    expect(placeOwnFile(path, "first")).toBe(true);
    expect(placeOwnFile(path, "second")).toBe(false);
    expect(requireOwnFile(path).toString("utf8")).toBe("first");
    expect(readdirSync(folder)).toEqual(["file"]);
    rmSync(path);
    symlinkSync(join(folder, "nowhere"), path);
    expect(placeOwnFile(path, "third")).toBe(false);
    expect(existsSync(join(folder, "nowhere"))).toBe(false);
    rmSync(path);
    expect(() => requireOwnFile(path)).toThrow(/is not there/);
  });

  it("makes way for another, and keeps what it holds", () => {
    expect(putAside(path)).toBeNull();
    mkdirSync(path);
    writeFileSync(join(path, "inside"), "kept");
    expect(putAside(path)).toBe(`${path}.aside-1`);
    writeFileSync(path, "second");
    expect(putAside(path)).toBe(`${path}.aside-2`);
    expect(readFileSync(join(`${path}.aside-1`, "inside"), "utf8")).toBe("kept");
    mkdirSync(path);
    removeAt(path);
    expect(kindAt(path)).toBeNull();
    expect(existsSync(`${path}.aside-3`)).toBe(true);
  });
});

describe("a file of ours with a second name", () => {
  it("is one of its own from then on where it is to be written, and the other stays as it is", () => {
    writeFileSync(path, "one\n", { mode: 0o600 });
    linkSync(path, `${path}.backup`);
    makeOwnWritable(path, 100);
    closeSync(openOwnFile(path, "update"));
    writeFileSync(path, "two\n");
    expect(readFileSync(`${path}.backup`, "utf8")).toBe("one\n");
  });

  it("is put aside where a log is to be written", () => {
    writeFileSync(path, "one\n", { mode: 0o600 });
    linkSync(path, `${path}.backup`);
    closeSync(openOwnLog(path));
    expect(readFileSync(path, "utf8")).toBe("");
    expect(readFileSync(`${path}.aside-1`, "utf8")).toBe("one\n");
  });

  it("gets no rights: it may be somebody's elsewhere", () => {
    writeFileSync(path, "one\n");
    chmodSync(path, 0o400);
    linkSync(path, `${path}.elsewhere`);
    makeOwnWritable(path, 100);
    expect(statSync(`${path}.elsewhere`).mode & 0o777).toBe(0o400);
  });

  it("is left alone where it is none: a link, a folder, nothing", () => {
    mkdirSync(join(folder, "inside"));
    chmodSync(join(folder, "inside"), 0);
    symlinkSync(join(folder, "inside"), path);
    for (const one of [path, join(folder, "inside"), join(folder, "nothing")]) {
      makeOwnWritable(one, 100);
    }
    expect(statSync(join(folder, "inside")).mode & 0o777).toBe(0);
  });
});
