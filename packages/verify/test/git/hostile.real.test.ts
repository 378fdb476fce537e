import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { deflateSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Budget } from "../../src/git/budget.ts";
import { applyDelta } from "../../src/git/delta.ts";
import { openGitRepository } from "../../src/git/index.ts";
import { PlainRepository } from "../support/repository.ts";

let repo: PlainRepository;
let blob: string;
beforeEach(() => {
  repo = new PlainRepository();
  repo.write("f", "content\n");
  repo.commit("one");
  blob = repo.git("rev-parse", "HEAD:f");
});
afterEach(() => {
  repo.dispose();
});

const dotGit = (...names: string[]): string => join(repo.root, ".git", ...names);
const looseOf = (id: string): string => dotGit("objects", id.slice(0, 2), id.slice(2));

/** What reading the blob comes to. */
function read(): string {
  const { objects } = openGitRepository(repo.root);
  try {
    return Buffer.from(objects.read(blob, "blob")).toString();
  } finally {
    objects.close();
  }
}

function putLoose(bytes: Uint8Array): void {
  chmodSync(dirname(looseOf(blob)), 0o755);
  rmSync(looseOf(blob), { force: true });
  writeFileSync(looseOf(blob), bytes);
}

function packed(): { pack: string; idx: string } {
  repo.write("g", "line\n".repeat(500));
  repo.commit("two");
  repo.git("repack", "-adq");
  repo.git("prune-packed");
  const folder = dotGit("objects/pack");
  const [name = ""] = readdirSync(folder).filter((one) => one.endsWith(".pack"));
  for (const one of readdirSync(folder)) chmodSync(join(folder, one), 0o644);
  return { pack: join(folder, name), idx: join(folder, name.replace(/pack$/, "idx")) };
}

function edit(file: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(file);
  change(bytes);
  writeFileSync(file, bytes);
}

describe("an object that is not what it should be", () => {
  it.each<[string, () => void, RegExp]>([
    [
      "gone",
      () => {
        rmSync(looseOf(blob));
      },
      /ERR_GIT_OBJECT_MISSING/,
    ],
    [
      "another",
      () => {
        putLoose(deflateSync("blob 6\0other\n"));
      },
      /ERR_GIT_OBJECT_CORRUPT.*another object/,
    ],
    [
      "no zlib data",
      () => {
        putLoose(Buffer.from("nothing"));
      },
      /ERR_GIT_OBJECT_CORRUPT/,
    ],
    [
      "cut",
      () => {
        const bytes = readFileSync(looseOf(blob));
        putLoose(bytes.subarray(0, bytes.length - 6));
      },
      /ERR_GIT_OBJECT_CORRUPT/,
    ],
    [
      "of a wrong size",
      () => {
        putLoose(deflateSync("blob 7\0content\n"));
      },
      /ERR_GIT_OBJECT_CORRUPT/,
    ],
    [
      "of another type",
      () => {
        blob = repo.git("rev-parse", "HEAD^{tree}");
      },
      /ERR_GIT_OBJECT_CORRUPT.*is a tree where a blob/,
    ],
    [
      "endless",
      () => {
        putLoose(deflateSync(Buffer.alloc(140 * 1024 * 1024)));
      },
      /ERR_GIT_OBJECT_LIMIT/,
    ],
    [
      "a link",
      () => {
        renameSync(looseOf(blob), dotGit("elsewhere"));
        symlinkSync(dotGit("elsewhere"), looseOf(blob));
      },
      /ERR_GIT_OBJECT_CORRUPT/,
    ],
    [
      "a pipe",
      () => {
        rmSync(looseOf(blob));
        execFileSync("mkfifo", [looseOf(blob)]);
      },
      /ERR_GIT_OBJECT_CORRUPT.*no regular file/,
    ],
  ])("%s", (_, breakIt, code) => {
    breakIt();
    expect(problemOf(read)).toMatch(code);
  });

  it("is no matter where another copy is whole", () => {
    const clone = join(repo.folder, "clone");
    repo.git("clone", "-q", repo.root, clone);
    mkdirSync(dotGit("objects/info"), { recursive: true });
    writeFileSync(dotGit("objects/info/alternates"), `${join(clone, ".git/objects")}\n`);
    putLoose(Buffer.from("nothing"));
    expect(read()).toBe("content\n");
  });
});

describe("a pack that is not what it should be", () => {
  it.each<[string, (files: ReturnType<typeof packed>) => void]>([
    [
      "its middle overwritten",
      ({ pack }) => {
        edit(pack, (bytes) => bytes.fill(0xaa, 20, bytes.length - 20));
      },
    ],
    [
      "its head another",
      ({ pack }) => {
        edit(pack, (bytes) => bytes.write("JUNK"));
      },
    ],
    [
      "cut",
      ({ pack }) => {
        truncateSync(pack, 40);
      },
    ],
    [
      "gone",
      ({ pack }) => {
        rmSync(pack);
      },
    ],
    [
      "an index that is cut",
      ({ idx }) => {
        truncateSync(idx, 1100);
      },
    ],
    [
      "an index without its head",
      ({ idx }) => {
        edit(idx, (bytes) => bytes.fill(0, 0, 8));
      },
    ],
    [
      "an index whose counts fall",
      ({ idx }) => {
        edit(idx, (bytes) => bytes.fill(0xff, 8, 12));
      },
    ],
    [
      "an index that points behind the end",
      ({ idx }) => {
        edit(idx, (bytes) =>
          bytes.fill(0x7f, 1032 + bytes.readUInt32BE(1028) * 24, bytes.length - 40),
        );
      },
    ],
    [
      "an index of version 1",
      ({ pack, idx }) => {
        rmSync(idx);
        repo.git("index-pack", "--index-version=1", pack);
      },
    ],
  ])("%s", (_, breakIt) => {
    const files = packed();
    expect(read()).toBe("content\n");
    breakIt(files);
    expect(problemOf(read)).toMatch(/ERR_GIT_OBJECT_CORRUPT/);
  });

  it.each(["pack", "idx"] as const)("with any byte of the %s flipped it gives no other", (kind) => {
    const file = packed()[kind];
    const whole = readFileSync(file);
    for (let at = 0; at < whole.length; at += 3) {
      edit(file, (bytes) => {
        bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      });
      const found = problemOf(read);
      if (found !== "content\n") expect(found).toMatch(/ERR_GIT_OBJECT_(CORRUPT|LIMIT|MISSING)/);
      writeFileSync(file, whole);
    }
  });

  it("whose deltas rest on each other ends", () => {
    const ids = ["1", "2"].map((digit) => digit.repeat(40)) as [string, string];
    writeCycle(ids);
    blob = ids[0];
    expect(problemOf(read)).toMatch(/ERR_GIT_OBJECT_LIMIT.*rest on themselves/);
  });

  it("beside many others, of which not all are held whole", () => {
    const index = readFileSync(packed().idx).subarray(0, 8);
    for (let at = 0; at < 24; at++) {
      const file = dotGit(`objects/pack/pack-a${at}.idx`);
      writeFileSync(file, index);
      truncateSync(file, 64 * 1024 * 1024);
    }
    const before = process.memoryUsage().arrayBuffers;
    const { objects } = openGitRepository(repo.root);
    expect(objects.find("1".repeat(40))).toBeNull();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1.2 * 1024 ** 3);
    objects.close();
  });

  it("whose delta rests on itself is not unpacked again and again", () => {
    const id = "1".repeat(40);
    writeDeltas([[id, id]], 64 * 1024 * 1024);
    blob = id;
    const before = process.memoryUsage().arrayBuffers;
    expect(problemOf(read)).toMatch(/ERR_GIT_OBJECT_LIMIT.*rest on themselves/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(512 * 1024 * 1024);
  });

  it("whose chain of deltas has more bytes than are held", () => {
    const ids = ["1", "2", "3", "4", "5", "6"].map((digit) => digit.repeat(40));
    const chain = ids.map((id, at): [string, string] => [id, ids[at + 1] ?? "7".repeat(40)]);
    writeDeltas(chain, 64 * 1024 * 1024);
    blob = ids[0] ?? "";
    expect(problemOf(read)).toMatch(/ERR_GIT_OBJECT_LIMIT.*above 268435456 bytes/);
  });

  it("whose deltas rest on nothing", () => {
    writeCycle(["1".repeat(40), "3".repeat(40)], "2".repeat(40));
    blob = "1".repeat(40);
    expect(problemOf(read)).toMatch(/ERR_GIT_OBJECT_CORRUPT.*without its base/);
  });

  /** Two deltas, each relative to the other, or to `base`. */
  function writeCycle([first, second]: readonly [string, string], base?: string): void {
    writeDeltas([
      [first, base ?? second],
      [second, base ?? first],
    ]);
  }

  /** Deltas of zeros, or of one byte, each by its id and that of what it is relative to. */
  function writeDeltas(rows: readonly [string, string][], size?: number): void {
    const content = size === undefined ? Buffer.from([1, 1, 1, 0x61]) : Buffer.alloc(size);
    const delta = deflateSync(content);
    const entries = rows.map(([, on]) =>
      Buffer.concat([sizeOf(content.length), Buffer.from(on, "hex"), delta]),
    );
    const head = Buffer.from("5041434b00000002", "hex");
    const pack = sealed(Buffer.concat([head, number(rows.length), ...entries]));
    const fanout = Array.from({ length: 256 }, (_, at) =>
      number(rows.filter(([id]) => Number.parseInt(id.slice(0, 2), 16) <= at).length),
    );
    let at = head.length + 4;
    const offsets = entries.map(({ length }) => number((at += length) - length));
    const ids = Buffer.from(rows.map(([id]) => id).join(""), "hex");
    const magic = Buffer.from("ff744f6300000002", "hex");
    const sums = Buffer.alloc(4 * rows.length);
    const index = [magic, ...fanout, ids, sums, ...offsets, pack.subarray(-20)];
    writeFileSync(dotGit("objects/pack/pack-aa.pack"), pack);
    writeFileSync(dotGit("objects/pack/pack-aa.idx"), sealed(Buffer.concat(index)));
  }

  /** A REF_DELTA's size in a pack: four bits beside its type, then seven a byte. */
  function sizeOf(size: number): Buffer {
    const bytes = [0x70 | (size & 15)];
    for (let left = Math.floor(size / 16); left > 0; left = Math.floor(left / 128)) {
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
      bytes.push(left & 0x7f);
    }
    return Buffer.from(bytes);
  }

  function number(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  }
});

describe("a delta that is not what it should be", () => {
  const base = Buffer.from("0123456789");
  it.each<[string, number[]]>([
    ["of another base", [9, 1, 1, 0x61]],
    ["that gives more than it says", [10, 1, 2, 0x61, 0x61]],
    ["that gives less than it says", [10, 2, 1, 0x61]],
    ["that copies from behind the end", [10, 5, 0x91, 8, 5]],
    ["with an instruction that nobody defined", [10, 1, 0]],
    ["that is cut", [10, 2, 2, 0x61]],
    ["whose size does not end", [10, ...new Array<number>(40).fill(0x80)]],
  ])("%s", (_, delta) => {
    const spend = (): void => undefined;
    const found = problemOf(() => String(applyDelta(base, Buffer.from(delta), spend)));
    expect(found).toMatch(/ERR_GIT_OBJECT_CORRUPT/);
  });

  it("that is enormous", () => {
    const delta = Buffer.from([10, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    const spend = (): void => undefined;
    expect(problemOf(() => String(applyDelta(base, delta, spend)))).toMatch(/ERR_GIT_OBJECT_LIMIT/);
  });
});

describe("a repository that is not one that can be read", () => {
  const config = (text: string): void => {
    writeFileSync(dotGit("config"), text);
  };
  it.each<[string, () => void, RegExp]>([
    [
      "no repository",
      () => {
        rmSync(dotGit(), { recursive: true });
      },
      /in no git repository/,
    ],
    [
      "no folder",
      () => {
        rmSync(repo.root, { recursive: true });
      },
      /no such folder/,
    ],
    [
      "no objects",
      () => {
        rmSync(dotGit("objects"), { recursive: true });
      },
      /no folder of objects/,
    ],
    [
      "a version of later",
      () => {
        config("[core]\n\trepositoryformatversion = 2\n");
      },
      /version that is not known/,
    ],
    [
      "refs in a table",
      () => {
        config("[core]\nrepositoryformatversion = 1\n[extensions]\nrefStorage = reftable\n");
      },
      /extension refstorage/,
    ],
    [
      "a hash that nobody knows",
      () => {
        config('[core]\nrepositoryformatversion = 1 ; so\n[Extensions] ObjectFormat = "md5"\n');
      },
      /extension objectformat/,
    ],
    [
      "a pointer to nowhere",
      () => {
        rmSync(dotGit(), { recursive: true });
        writeFileSync(dotGit(), "gitdir: /nowhere/at/all\n");
      },
      /expected one line/,
    ],
  ])("%s", (_, breakIt, why) => {
    breakIt();
    const found = problemOf(() => openGitRepository(repo.root).folder);
    expect(found).toMatch(/^ERR_REPOSITORY_UNREADABLE/);
    expect(found).toMatch(why);
  });

  it.each([
    ["a value", `[x]\n\ta = b${" ".repeat(200_000)}x\n`],
    ["a name", `[x]\n\ta${" ".repeat(200_000)}x\n`],
    ["a comment", `[x]\n\ta = b${" ".repeat(200_000)}\n\tc = d # ${" ;".repeat(100_000)}\n`],
    ["a header", `[${" ".repeat(200_000)}x${" ".repeat(200_000)}"\n`],
  ])("has %s in its configuration with a lot of room: it is read at once", (_, text) => {
    config(text);
    const before = performance.now();
    expect(openGitRepository(repo.root).objects.format).toBe("sha1");
    expect(performance.now() - before).toBeLessThan(1000);
  });

  it("has a HEAD with a lot of room: it is read at once", () => {
    writeFileSync(dotGit("HEAD"), `ref: a${" ".repeat(4000)}x`);
    const { refs } = openGitRepository(repo.root);
    const before = performance.now();
    for (let time = 0; time < 1000; time++) expect(refs.headBranch()).toBeNull();
    expect(performance.now() - before).toBeLessThan(1000);
  });

  it("borrows through too many others", () => {
    for (let number = 0; number < 8; number++) {
      const info = join(repo.folder, `o${number}`, "info");
      mkdirSync(info, { recursive: true });
      writeFileSync(join(info, "alternates"), `../o${number + 1}\n`);
    }
    mkdirSync(join(repo.folder, "o8"));
    mkdirSync(dotGit("objects/info"), { recursive: true });
    writeFileSync(dotGit("objects/info/alternates"), `${join(repo.folder, "o0")}\n`);
    expect(problemOf(read)).toMatch(/ERR_GIT_OBJECT_LIMIT.*too many repositories/);
  });

  it("costs more than it may", () => {
    const { objects } = openGitRepository(repo.root, new Budget(5));
    expect(problemOf(() => String(objects.read(blob, "blob")))).toMatch(/ERR_GIT_OBJECT_LIMIT/);
  });

  it("has refs that lead out of it, or in circles: they name nothing", () => {
    writeFileSync(join(repo.folder, "secret"), `${"a".repeat(40)}\n`);
    writeFileSync(dotGit("refs/heads/out"), "ref: refs/../../../secret\n");
    writeFileSync(dotGit("refs/heads/circle"), "ref: refs/heads/circle\n");
    writeFileSync(dotGit("refs/heads/words"), "hello\n");
    const { refs } = openGitRepository(repo.root);
    const names = ["refs/heads/out", "refs/heads/circle", "refs/heads/words", "../secret", "x"];
    expect(names.map((name) => refs.resolve(name))).toEqual(names.map(() => null));
    expect(refs.history("refs/../x").size).toBe(0);
  });
});

function problemOf(work: () => string): string {
  try {
    return work();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code ?? "none"}: ${message}`;
  }
}

function sealed(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, createHash("sha1").update(bytes).digest()]);
}
