import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { canonicalize } from "@sovereign/core";
import { repairScram } from "../../../src/services/scram/repair-journal.ts";
import { lockFolder } from "../../../src/process/index.ts";
import { Journal, offlineStatus, repairJournal, ScramLatch } from "../../../src/scram/index.ts";

const NOW = "2026-06-01T12:00:00.000Z";
const PATH = process.env["PATH"] ?? "";

let home: string;
let folder: string;
let path: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sov-repair-"));
  folder = join(home, "scram");
  mkdirSync(folder);
  path = join(folder, "journal.jsonl");
  const journal = Journal.open(path);
  for (let pid = 0; pid < 6; pid++) {
    journal.append("sentinel.started", NOW, { pid, nonce: String(pid).repeat(32), settled: true });
  }
  new ScramLatch(folder).settle({ lines: 6, head: journal.head });
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

const linesNow = (): string[] => readFileSync(path, "utf8").trimEnd().split("\n");
const write = (lines: readonly string[]): void => {
  writeFileSync(path, `${lines.join("\n")}\n`);
};

describe("a journal that nobody may write to", () => {
  it.each<[string, () => void]>([
    [
      "because it has a second name, as a backup by links or a repair that was killed leaves it",
      () => {
        linkSync(path, `${path}.damaged-1`);
      },
    ],
    [
      "because its rights were taken away",
      () => {
        chmodSync(path, 0);
      },
    ],
  ])("%s, is made ours, and loses nothing", async (_name, spoil) => {
    const before = readFileSync(path);
    spoil();
    expect(await repairScram(home, { PATH })).toMatchObject({ repaired: false });
    expect(readFileSync(path)).toEqual(before);
    expect(statSync(path)).toMatchObject({ nlink: 1, mode: 0o100600 });
    Journal.open(path).append("sentinel.started", NOW, { pid: 7, nonce: "7".repeat(32) });
    expect(linesNow()).toHaveLength(7);
  });
});

describe("a repair of the journal", () => {
  it.each<[string, (lines: string[]) => void, { kept: number; lost: number; salvaged: number }]>([
    [
      "an altered line",
      (lines) => {
        write(lines.map((line) => line.replace('"pid":2', '"pid":9')));
      },
      { kept: 5, lost: 1, salvaged: 1 },
    ],
    [
      "a removed line",
      (lines) => {
        write(lines.filter((_, at) => at !== 3));
      },
      { kept: 5, lost: 1, salvaged: 0 },
    ],
    [
      "garbage in the middle",
      (lines) => {
        write(lines.map((line, at) => (at === 1 ? "\u0000\u0000 garbage" : line)));
      },
      { kept: 5, lost: 1, salvaged: 0 },
    ],
    [
      "a second writer's lines",
      (lines) => {
        write([...lines, lines.at(-1)?.replace('"pid":5', '"pid":55') ?? ""]);
      },
      { kept: 6, lost: 0, salvaged: 1 },
    ],
    [
      "nothing at all",
      () => {
        rmSync(path);
        execFileSync("mkfifo", [path]);
      },
      { kept: 0, lost: 0, salvaged: 0 },
    ],
  ])("keeps what can be read where there is %s", async (_, damage, expected) => {
    damage(linesNow());
    expect(offlineStatus(folder).state).toBe("FAILED");
    const report = await repairScram(home, { PATH });
    expect(report).toMatchObject({ repaired: true, ...expected });
    const { lines } = Journal.open(path);
    const kept = lines.filter(({ event }) => event === "sentinel.started");
    expect(kept).toHaveLength(expected.kept);
    const salvaged = lines.filter(({ event }) => event === "journal.salvaged");
    expect(salvaged).toHaveLength(expected.salvaged);
    // Stopped, even without the latch; and what was damaged is kept.
    rmSync(join(folder, "LATCH"));
    expect(offlineStatus(folder)).toMatchObject({
      state: "FAILED",
      stops: [{ event_id: report.event_id }],
    });
    expect(readdirSync(folder)).toContain(report.aside);
    // A line that is read back goes on from there, and nothing is left to repair.
    Journal.open(path).append("sentinel.stopped", NOW, {});
    expect(await repairScram(home, { PATH })).toMatchObject({ repaired: false });
  });

  it("takes from the ledger what the file has lost, and believes it before the file", () => {
    const { lines } = Journal.open(path);
    const texts = linesNow().map((line) => line.replace('"pid":2', '"pid":9'));
    const {
      lines: made,
      lost,
      fromLedger,
      salvaged,
    } = repairJournal(texts, lines.slice(0, 4), NOW);
    expect(made).toEqual(lines);
    expect({ lost, fromLedger, salvaged: salvaged.length }).toEqual({
      lost: 0,
      fromLedger: 1,
      salvaged: 1,
    });
  });

  it("keeps all that the ledger holds, where the file is another journal altogether", () => {
    const { lines } = Journal.open(path);
    const other = Journal.open(join(home, "other.jsonl"));
    for (let pid = 10; pid < 16; pid++) other.append("sentinel.started", NOW, { pid });
    const texts = other.lines.map((line) => canonicalize(line));
    const made = repairJournal(texts, lines.slice(0, 3), NOW);
    expect(made.lines.slice(0, 3)).toEqual(lines.slice(0, 3));
    const kept = [...made.lines, ...made.salvaged].map((line) => canonicalize(line));
    expect(kept).toEqual(expect.arrayContaining(texts));
    const text = made.lines.map((line) => `${canonicalize(line)}\n`).join("");
    writeFileSync(path, text);
    expect(Journal.open(path).lines).toEqual(made.lines);
  });

  it("does nothing to a journal that holds together", async () => {
    const before = readFileSync(path, "utf8");
    expect(await repairScram(home, { PATH })).toMatchObject({ repaired: false });
    expect(readFileSync(path, "utf8")).toBe(before);
    expect(offlineStatus(folder)).toMatchObject({ state: "ARMED" });
  });
});

describe("the lock of a folder", () => {
  it("is given once, whatever the namespace, and back when its holder lets go", () => {
    const first = lockFolder(folder, PATH);
    if (first.kind !== "taken") throw new Error(first.kind);
    expect(lockFolder(folder, PATH)).toEqual({ kind: "held" });
    const elsewhere = ["--user", "--map-root-user", "--net", "flock", "-x", "-n"];
    const args = [...elsewhere, folder, "true"];
    expect(() => execFileSync("unshare", args, { stdio: "pipe" })).toThrow();
    // What the folder holds is of no matter to it.
    rmSync(path);
    expect(lockFolder(folder, PATH)).toEqual({ kind: "held" });
    closeSync(first.descriptor);
    const second = lockFolder(folder, PATH);
    expect(second.kind).toBe("taken");
    if (second.kind === "taken") closeSync(second.descriptor);
    expect(lockFolder(join(folder, "none"), PATH)).toMatchObject({ kind: "failed" });
  });
});
