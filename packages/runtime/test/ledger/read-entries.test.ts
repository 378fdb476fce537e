import { canonicalBytes, type JsonObject, type PlacedEntry, sha256Hex } from "@sovereign/core";
import { describe, expect, test } from "vitest";
import { entryToShow, readRun, type StoredEntry } from "../../src/ledger/index.ts";

const RUN = "run_aaaaaaaaaaaaaaaaaaaa";

/** An entry as somebody with a tenant's rows would write it, with the hash that belongs to it. */
function stored(fields: JsonObject): StoredEntry {
  const bytes = canonicalBytes({
    stream: RUN,
    sequence: 0,
    timestamp: "2030-01-31T12:00:00.000Z",
    event_type: "evidence.recorded",
    severity: "INFO",
    tenant_id: "acme",
    run_id: RUN,
    data: { artifacts: [artifact("data/a.json")] },
    previous_hash: "0".repeat(64),
    ...fields,
  });
  return { index: 0, hash: sha256Hex(bytes), bytes };
}

async function readBack(one: StoredEntry): Promise<PlacedEntry> {
  const ledger = {
    async *readStream() {
      await Promise.resolve();
      yield one;
    },
  };
  for await (const placed of readRun(ledger, "acme", RUN)) return placed;
  throw new Error("expected one entry");
}

function artifact(name: string): JsonObject {
  return { name, sha256: "0".repeat(64), bytes: 1, media_type: "text/plain" };
}

describe("an entry that a store gives back", () => {
  test("is taken where it is what its event says", async () => {
    const { entry } = await readBack(stored({}));
    expect(entry.event_type).toBe("evidence.recorded");
  });

  test("is taken where its event is none of ours", async () => {
    const other = { event_type: "others.happened", data: { anything: [1] } };
    const { entry } = await readBack(stored(other));
    expect(entry.data).toEqual({ anything: [1] });
  });

  test("is shown to whoever verifies, whatever its event says", () => {
    const { entry } = entryToShow(stored({ data: { false: true } }));
    expect(entry.data).toEqual({ false: true });
  });

  test.each([
    ["an artifact below another folder", { data: { artifacts: [artifact("../../a")] } }],
    ["an artifact by an absolute path", { data: { artifacts: [artifact("/etc/passwd")] } }],
    ["no artifacts", { data: {} }],
    ["data of another event", { event_type: "run.admitted" }],
    ["more than its event has", { data: { artifacts: [], more: 1 } }],
    ["a field that no entry has", { extra: 1 }],
  ])("is refused where it holds %s", async (_, fields) => {
    const read = readBack(stored(fields));
    await expect(read).rejects.toMatchObject({ code: "ERR_FORMAT_INVALID" });
  });

  test("is refused where it is not what was hashed", async () => {
    const other = { ...stored({}), hash: "0".repeat(64) };
    expect(() => entryToShow(other)).toThrow(/not what was recorded/);
    await expect(readBack(other)).rejects.toMatchObject({ code: "ERR_LEDGER_CORRUPT" });
  });
});
