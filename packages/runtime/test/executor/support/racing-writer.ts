import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

// Edits files of a work tree as editors and tools do, from a sign on, until another; says what it did.
const { root, paths, start, stop, log, seed } = JSON.parse(process.argv[2] ?? "") as {
  root: string;
  paths: string[];
  start: string;
  stop: string;
  log: string;
  seed: number;
};

let state = seed;
function chance(below: number): number {
  state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
  return Math.floor((state / 2_147_483_648) * below);
}

/** Opened before anything began, as an editor or a logger has a file open. */
const held = new Map(
  paths
    .filter((path) => existsSync(join(root, path)))
    .map((path) => [path, openSync(join(root, path), "a")]),
);

let count = 0;
const said = openSync(log, "a");
function say(path: string, way: string, token: string): void {
  writeSync(said, `${JSON.stringify({ path, way, token: token.trim() })}\n`);
}
/** Whatever stood there is gone by our own hand, and so is what we write into what we had open. */
function remove(at: string, path: string): void {
  unlinkSync(at);
  held.delete(path);
  say(path, "removed", "");
}

const WAYS: Readonly<Record<string, (at: string, token: string, path: string) => void>> = {
  rename: (at, token, path) => {
    writeFileSync(`${at}.mine`, token);
    renameSync(`${at}.mine`, at);
    held.delete(path);
  },
  write: (at, token) => {
    writeFileSync(at, token);
  },
  append: (at, token) => {
    appendFileSync(at, token);
  },
  held: (at, token, path) => {
    const fd = held.get(path);
    if (fd === undefined) appendFileSync(at, token);
    else writeSync(fd, token);
  },
  replace: (at, token, path) => {
    remove(at, path);
    writeFileSync(at, token, { flag: "wx" });
  },
  link: (at, token, path) => {
    remove(at, path);
    symlinkSync(token.trim(), at);
  },
  folder: (at, token, path) => {
    remove(at, path);
    mkdirSync(at);
    writeFileSync(join(at, "inside"), token);
  },
  mode: (at) => {
    chmodSync(at, 0o755);
  },
  back: (at, token, path) => {
    remove(join(at, "inside"), path);
    rmdirSync(at);
    writeFileSync(at, token);
  },
};

while (!existsSync(start));
while (!existsSync(stop) && count < 400) {
  count += 1;
  const path = paths[chance(paths.length)] ?? "";
  const way = Object.keys(WAYS)[chance(Object.keys(WAYS).length)] ?? "";
  const token = `token-${seed}-${count}-end\n`;
  try {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    WAYS[way]?.(join(root, path), token, path);
    say(path, way, token);
  } catch {
    // What is not there any more, or is something else, is not edited.
  }
}
