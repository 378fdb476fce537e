import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { EMPTY_STREAM, StreamWriter } from "../../src/ledger/index.ts";
import { Store } from "../../src/store/index.ts";
import { fieldsOf, itemFor, newStream } from "../support/entries.ts";
import { testSigner } from "../support/keys.ts";
import { SmallDisk } from "../support/small-disk.ts";

const disk = SmallDisk.mount(200);
/** What can not be compressed fills a disk soonest. */
const WIDE = randomBytes(36_000).toString("base64");
const MEGABYTE = 1024 * 1024;

const open = (path: string): Promise<Store> =>
  Store.open({ folder: join(path, "pg"), headsFolder: join(path, "heads"), databaseUrl: null });

afterAll(() => {
  disk?.unmount();
});

/** One stream's writer, until the store refuses. */
async function writeOn(
  store: Store,
  acknowledged: Map<string, number>,
): Promise<string | undefined> {
  const stream = newStream();
  const writer = new StreamWriter(store, "full", stream, EMPTY_STREAM);
  for (let count = 1; ; count++) {
    try {
      const verdict = await writer.append(fieldsOf(stream, WIDE));
      if (verdict.status !== "committed") return verdict.reason;
    } catch (error) {
      return (error as { code?: string }).code;
    }
    acknowledged.set(stream, count);
  }
}

describe.skipIf(disk === null)("a disk that fills up (needs root, to mount a small one)", () => {
  it.each([0, 3, 20])(
    "with %i MB left: refuses what it can not keep, and keeps the rest",
    async (megabytes) => {
      const path = disk?.path ?? "";
      const before = await open(path);
      disk?.fill(megabytes * MEGABYTE);
      const acknowledged = new Map<string, number>();
      const lanes = [1, 2, 3, 4].map(() => writeOn(before, acknowledged));
      expect(new Set(await Promise.all(lanes))).toEqual(new Set(["ERR_STORE_UNAVAILABLE"]));
      disk?.empty();
      // Where the server itself fell, the next to open the store starts it again.
      await before.close();
      const store = await open(path);
      for (const [stream, count] of acknowledged) {
        expect(await store.streamHead("full", stream)).toMatchObject({ count });
      }
      const after = await store.commit(itemFor(newStream(), "full"));
      expect(after).toMatchObject({ status: "committed" });
      const { size } = await store.sealCheckpoint("full", "origin", testSigner);
      let read = 0;
      for await (const { index } of store.readLog("full")) expect(index).toBe(read++);
      expect(size).toBe(read);
      await store.close();
    },
  );
});
