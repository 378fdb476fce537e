import { ed25519 } from "@noble/curves/ed25519.js";
import {
  base64Encode,
  type KeyEvent,
  type KeyRecord,
  KeyTable,
  parsePublicKey,
} from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const AT = "2026-06-01T00:00:00.000Z";

const record = (seed: number, purpose: "root" | "binding"): KeyRecord => {
  const { raw, keyId } = parsePublicKey(ed25519.getPublicKey(new Uint8Array(32).fill(seed)));
  return {
    key_id: keyId,
    public_key: base64Encode(raw),
    purpose,
    role: null,
    not_before: seed % 7 === 0 ? "2027-01-01T00:00:00.000Z" : "2026-01-01T00:00:00.000Z",
    not_after: null,
  };
};
const RECORDS = Array.from({ length: 40 }, (_, seed) =>
  record(seed + 1, seed % 3 === 2 ? "binding" : "root"),
);

function eventOf(
  table: KeyTable,
  event: KeyEvent["event"],
  key: KeyRecord,
  other: Partial<KeyEvent> = {},
): KeyEvent {
  return {
    installation_id: `ins_${"a".repeat(20)}`,
    sequence: table.count,
    event,
    key,
    replaces: null,
    reason: null,
    distrust_all: false,
    issued_at: AT,
    ...other,
  };
}

const steps = fc.array(
  fc.record({
    event: fc.constantFrom("introduced" as const, "rotated" as const, "revoked" as const),
    key: fc.constantFrom(...RECORDS),
    old: fc.constantFrom(...RECORDS),
    distrust_all: fc.boolean(),
  }),
  { minLength: 20, maxLength: 100 },
);

/** Events that cannot stand there are left out, so that long logs are reached. */
function isPossible(
  table: KeyTable,
  { event, key, old }: { event: KeyEvent["event"]; key: KeyRecord; old: KeyRecord },
): boolean {
  const isLive = (one: KeyRecord): boolean => table.get(one.key_id)?.ended === null;
  if (event === "revoked") return isLive(key);
  const isNew = table.get(key.key_id) === undefined;
  const roots = table.windows.filter((one) => one.record.purpose === "root" && one.ended === null);
  if (event === "introduced") return isNew && (key.purpose === "binding" || roots.length < 16);
  return isNew && isLive(old) && old.purpose === key.purpose;
}

describe("the keys of a log", () => {
  it("that may sign its next event are the root keys valid there, whatever happened before", () => {
    fc.assert(
      fc.property(steps, (events) => {
        const table = new KeyTable();
        for (const step of events.filter((one) => one.old !== one.key)) {
          const { event, key, old, distrust_all } = step;
          if (!isPossible(table, step)) continue;
          const replaces = event === "rotated" ? old.key_id : null;
          const distrusts = event !== "introduced" && distrust_all;
          table.apply(eventOf(table, event, key, { replaces, distrust_all: distrusts }));
          const ids = (windows: readonly { record: KeyRecord }[]): string[] =>
            windows.map((window) => window.record.key_id).sort();
          const expected = table.valid("root", null, table.count, AT);
          expect(ids(table.currentRoots(AT))).toEqual(ids(expected));
        }
      }),
    );
  });

  it("hold 16 root keys at a time and no more; one that ends makes room", () => {
    const table = new KeyTable();
    const roots = Array.from({ length: 18 }, (_, at) => record(100 + at, "root"));
    for (const root of roots.slice(0, 16)) table.apply(eventOf(table, "introduced", root));
    const invalid = expect.objectContaining({ code: "ERR_KEY_LOG_INVALID" }) as Error;
    expect(() => {
      table.apply(eventOf(table, "introduced", roots[16]!));
    }).toThrow(invalid);
    const replaces = roots[0]!.key_id;
    table.apply(eventOf(table, "rotated", roots[16]!, { replaces }));
    table.apply(eventOf(table, "revoked", roots[1]!));
    table.apply(eventOf(table, "introduced", roots[17]!));
    expect(table.currentRoots(AT).length).toBeGreaterThan(12);
  });

  it("that a distrusted root key introduced are distrusted with it, and what those introduced", () => {
    const table = new KeyTable();
    const [first, second, third, fourth] = [100, 101, 102, 103].map((seed) => record(seed, "root"));
    const bindings = [200, 201].map((seed) => record(seed, "binding"));
    table.apply(eventOf(table, "introduced", first!), first!.key_id);
    table.apply(eventOf(table, "introduced", second!), first!.key_id);
    table.apply(eventOf(table, "introduced", third!), second!.key_id);
    table.apply(eventOf(table, "introduced", fourth!), first!.key_id);
    table.apply(eventOf(table, "introduced", bindings[0]!), third!.key_id);
    table.apply(eventOf(table, "introduced", bindings[1]!), fourth!.key_id);
    expect(table.distrusted().size).toBe(0);
    const fallen = [second!, third!, bindings[0]!].map((one) => one.key_id).sort();
    // By a trust root that knows more than the log, and by the log itself.
    expect([...table.distrusted([second!.key_id])].sort()).toEqual(fallen);
    table.apply(eventOf(table, "revoked", second!, { distrust_all: true }), first!.key_id);
    expect([...table.distrusted()].sort()).toEqual(fallen);
    expect(table.distrusted([first!.key_id]).size).toBe(6);
  });

  it("are ended as they were introduced, and an introduction distrusts nothing", () => {
    const table = new KeyTable();
    const [root, binding] = [record(100, "root"), record(200, "binding")];
    table.apply(eventOf(table, "introduced", root));
    const invalid = expect.objectContaining({ code: "ERR_KEY_LOG_INVALID" }) as Error;
    for (const event of [
      eventOf(table, "introduced", binding, { distrust_all: true }),
      eventOf(table, "revoked", { ...root, not_after: AT }),
      eventOf(table, "revoked", root, { replaces: root.key_id }),
    ]) {
      expect(() => {
        table.apply(event);
      }).toThrow(invalid);
    }
  });
});
