import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
