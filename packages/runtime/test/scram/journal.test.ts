import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EnvelopeStore, Journal } from "../../src/scram/index.ts";
import { NOW, ScramKeys, signOrder } from "../support/scram-keys.ts";

let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), "sov-journal-")), "journal.jsonl");
});
afterEach(() => {
  rmSync(join(path, ".."), { recursive: true, force: true });
});

function filled(): Journal {
  const journal = Journal.open(path);
  for (const pid of [1, 2, 3]) journal.append("sentinel.started", NOW, { pid });
  return journal;
}

describe("the journal", () => {
  it("is read back as it was written, and goes on from there", () => {
    const { head } = filled();
    const again = Journal.open(path);
    expect(again.head).toBe(head);
    again.append("sentinel.stopped", NOW, {});
    expect(Journal.open(path).lines.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3]);
  });

  it("drops half a line of a crash, and overwrites it", () => {
    filled();
    appendFileSync(path, '{"at":"2026-06-01T12:00:00.000Z","da');
    const again = Journal.open(path);
    expect(again.lines).toHaveLength(3);
    again.append("sentinel.stopped", NOW, {});
    expect(Journal.open(path).lines.at(-1)?.event).toBe("sentinel.stopped");
    expect(readFileSync(path, "utf8").endsWith("}\n")).toBe(true);
  });

  it.each<[string, (lines: string[]) => string[]]>([
    ["edited", (lines) => lines.map((line) => line.replace('"pid":2', '"pid":9'))],
    ["without a line", ([first = "", , third = ""]) => [first, third]],
    ["out of order", ([first = "", second = "", third = ""]) => [second, first, third]],
    ["not canonical", (lines) => lines.map((line) => line.replace(":", ": "))],
  ])("is refused when it is %s", (_, change) => {
    filled();
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    writeFileSync(path, `${change(lines).join("\n")}\n`);
    expect(() => Journal.open(path)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_JOURNAL_INVALID" }),
    );
  });

  it.each<[string, (backup: string) => void]>([
    [
      "its rights are taken away",
      () => {
        chmodSync(path, 0o400);
      },
    ],
    [
      "all its rights are taken away",
      () => {
        chmodSync(path, 0);
      },
    ],
    [
      "a backup by links gives it a second name",
      (backup) => {
        linkSync(path, backup);
      },
    ],
  ])("is written to by whoever has it open, where %s", (_what, change) => {
    const journal = filled();
    const before = readFileSync(path);
    const backup = `${path}.backup`;
    change(backup);
    journal.append("scram.activated", NOW, {});
    journal.append("scram.executed", NOW, {});
    expect(statSync(path)).toMatchObject({ nlink: 1, mode: 0o100600 });
    expect(Journal.open(path).lines).toHaveLength(5);
    if (existsSync(backup)) expect(readFileSync(backup)).toEqual(before);
  });

  it("gives no rights to another file that stands in its place", () => {
    const journal = filled();
    copyFileSync(path, `${path}.other`);
    chmodSync(`${path}.other`, 0o400);
    renameSync(`${path}.other`, path);
    try {
      journal.append("scram.activated", NOW, {});
    } catch (error) {
      // Root may write to it.
      expect(error).toMatchObject({ code: "ERR_SCRAM_UNWRITABLE" });
    }
    expect(statSync(path).mode).toBe(0o100400);
  });

  it("takes in what another process appends, once it is whole, and nothing twice", () => {
    const journal = Journal.open(path);
    const reader = Journal.open(path);
    reader.refresh();
    expect(reader.lines).toEqual([]);
    for (let round = 0; round < 3; round++) {
      journal.append("order.refused", NOW, { reason: `größer ${round}` });
      const half = journal.append("order.refused", NOW, {});
      expect(half.sequence).toBe(2 * round + 1);
      const whole = readFileSync(path);
      writeFileSync(path, whole.subarray(0, -1));
      reader.refresh();
      expect(reader.lines).toHaveLength(2 * round + 1);
      writeFileSync(path, whole);
      reader.refresh();
      expect(reader.lines).toEqual(journal.lines);
      expect(reader.head).toBe(journal.head);
    }
  });

  it("is read whole where it is larger than what is read at once", () => {
    const journal = Journal.open(path);
    const text = "ä".repeat(25_000);
    for (let line = 0; line < 100; line++) journal.append("order.refused", NOW, { line, text });
    const { lines, head } = Journal.open(path);
    expect(lines).toHaveLength(100);
    expect(head).toBe(journal.head);
  });

  it("that is shorter than it was is refused, and so is one that goes on otherwise", () => {
    const journal = Journal.open(path);
    journal.append("order.refused", NOW, {});
    const before = readFileSync(path);
    journal.append("order.refused", NOW, {});
    const reader = Journal.open(path);
    writeFileSync(path, before);
    expect(() => {
      reader.refresh();
    }).toThrow("shorter than it was");
    const other = Journal.open(path);
    other.append("engine.lost", NOW, { why: "another line in its place" });
    other.append("engine.lost", NOW, {});
    expect(() => {
      reader.refresh();
    }).toThrow("line 3");
  });

  it("keeps envelopes beside it, by digest", () => {
    const store = new EnvelopeStore(join(path, "..", "envelopes"));
    const keys = new ScramKeys();
    const envelope = signOrder(keys.order(), keys.operator);
    const digest = store.put(envelope);
    expect(store.put(envelope)).toBe(digest);
    expect(store.get(digest)).toEqual(envelope);
    const file = join(path, "..", "envelopes", `${digest}.json`);
    writeFileSync(file, readFileSync(file, "utf8").replace("keyid", "keyID"));
    expect(() => store.get(digest)).toThrow();
    expect(() => store.get("0".repeat(64))).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_JOURNAL_INVALID" }),
    );
  });
});
