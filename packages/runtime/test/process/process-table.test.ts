import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findUnregistered } from "../../src/scram/termination.ts";

let proc: string;
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "sovereign-proc-"));
});
afterEach(() => {
  rmSync(proc, { recursive: true, force: true });
});

const NAME = "0123456789abcdef";
const stat = (pid: number, parent: number): string =>
  `${pid} (a (b) c) S ${parent} 1 1 0 -1 ${"0 ".repeat(13)}${pid}00 0`;

function list(pid: number, parent: number, path: string | null): void {
  mkdirSync(join(proc, String(pid)));
  writeFileSync(join(proc, String(pid), "stat"), stat(pid, parent));
  writeFileSync(join(proc, String(pid), "cgroup"), "0::/elsewhere\n");
  const marked = path === null ? "" : `SOVEREIGN_PATH=${NAME}/${path}\0`;
  writeFileSync(join(proc, String(pid), "environ"), `PATH=/bin\0${marked}`);
}

it("who looks for unlisted paths goes on meanwhile, where the kernel keeps a reader waiting", async () => {
  list(70_001, 1, "path-a");
  list(70_002, 1, null);
  list(70_003, 1, "path-late");
  // Stands for a process whose lock is held by one that gets no processor: who reads it waits.
  mkdirSync(join(proc, "70004"));
  execFileSync("mkfifo", [join(proc, "70004", "stat")]);
  const listed = new Set<string>();
  const strangers = new Set<string>();
  const look = findUnregistered(NAME, () => listed, null, strangers, proc);
  let turns = 0;
  for (; turns < 5; turns++) await sleep(20);
  expect(turns).toBe(5);
  // It came upon the list while it was looked for.
  listed.add("path-late");
  closeSync(openSync(join(proc, "70004", "stat"), constants.O_WRONLY));
  expect([...(await look)]).toEqual(["path-a"]);
  expect([...strangers]).toEqual(["70002 7000200"]);
});

it("a child of the engine on no list is found, also one that was a stranger before", async () => {
  list(70_001, 1, null);
  list(70_002, 500, null);
  const strangers = new Set(["70001 7000100", "70002 7000200", "70003 gone"]);
  const engine = { pid: 500, started: "1" };
  const found = await findUnregistered(NAME, () => new Set(), engine, strangers, proc);
  expect([...found]).toEqual(["pid 70002"]);
  expect([...strangers]).toEqual(["70001 7000100"]);
});
