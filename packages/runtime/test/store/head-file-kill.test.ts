import { Frontier, hexEncode, leafHash, utf8Encode } from "@sovereign/core";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Database } from "../../src/store/database.ts";
import { HeadFile } from "../../src/store/head-file.ts";
import { sealHead } from "../../src/store/seal-head.ts";
import { testSigner } from "../support/keys.ts";

const LOG = "acme";
type Query = (text: string, values?: readonly unknown[]) => Promise<{ rows: unknown[] }>;

interface Checkpoint {
  readonly size: number;
  readonly note: string;
}

/** What a killed process does: nothing more. */
class Killed extends Error {}

/** A log and its checkpoints: what a transaction writes is there once it is committed. */
class LogDatabase {
  entries = 0;
  checkpoints: Checkpoint[] = [];
  /** Where the process dies, and the file that it writes. */
  killAt: string | null = null;

  reach(point: string): void {
    if (this.killAt === point) throw new Killed(point);
  }

  /** What others do once a head is signed, and before its file is written. */
  amid: () => Promise<unknown> = () => Promise.resolve();

  async read<T>(_claim: string, work: (client: { query: Query }) => Promise<T>): Promise<T> {
    const written: Checkpoint[] = [];
    const value = await work({ query: (text, values) => this.#query(text, values, written) });
    if (written.length > 0) this.reach("before the commit");
    this.checkpoints = [...this.checkpoints, ...written];
    if (written.length > 0) this.reach("after the commit");
    return value;
  }

  #query(text: string, values: readonly unknown[] = [], written: Checkpoint[]): ReturnType<Query> {
    const rows = (...found: unknown[]): ReturnType<Query> => Promise.resolve({ rows: found });
    if (text.includes("save_checkpoint")) {
      const [size, note] = values as [number, string];
      written.push({ size, note });
      const { amid } = this;
      this.amid = () => Promise.resolve();
      return amid().then(() => ({ rows: [] }));
    }
    if (text.includes("index + 1 as size")) return rows({ size: String(this.entries) });
    if (text.includes("from sovereign.entries")) {
      const [, from, to] = values as [string, number, number];
      const known = Math.min(to, this.entries);
      return rows(...leaves(from, known).map((hash) => ({ hash })));
    }
    const last = [...this.checkpoints].sort((one, other) => other.size - one.size)[0];
    if (last === undefined) return rows();
    const frontier = Buffer.concat(treeOf(last.size).nodes);
    return rows({ size: String(last.size), note: last.note, frontier });
  }
}

function leaves(from: number, to: number): Uint8Array[] {
  return Array.from({ length: to - from }, (_, at) => leafHash(utf8Encode(`entry ${from + at}`)));
}

function treeOf(size: number): Frontier {
  const frontier = new Frontier();
  for (const leaf of leaves(0, size)) frontier.append(leaf);
  return frontier;
}

let folder: string;
let database: LogDatabase;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-heads-"));
  database = new LogDatabase();
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function seal(): Promise<number> {
  const file = new HeadFile(folder, LOG);
  const heads = {
    path: file.path,
    read: () => file.read(),
    write: (head: Parameters<HeadFile["write"]>[0]) => {
      database.reach("before the file");
      file.write(head);
      database.reach("after the file");
    },
  };
  const sealed = { log: LOG, origin: "origin", signer: testSigner };
  return (await sealHead(database as unknown as Database, heads, sealed)).size;
}

/** What a database that was set back is held against. */
const kept = (): unknown => new HeadFile(folder, LOG).read();
const headOf = (size: number): object => ({ size, root: hexEncode(treeOf(size).root()) });

describe("a process that is killed while it signs a head", () => {
  it.each(["before the file", "after the file", "before the commit", "after the commit"])(
    "has signed none that the file outside the database does not hold: %s",
    async (killAt) => {
      database.entries = 5;
      expect(await seal()).toBe(5);
      database.entries = 9;
      database.killAt = killAt;
      const ended = await seal().then(() => "sealed", String);
      database.killAt = null;
      expect(ended).toContain(killAt);
      const signed = Math.max(...database.checkpoints.map(({ size }) => size));
      const file = new HeadFile(folder, LOG).read();
      expect(file?.size).toBeGreaterThanOrEqual(signed);
      if (signed === 9) {
        // Set back to what was there before: no smaller head is signed.
        const all = database.checkpoints;
        Object.assign(database, { entries: 7, checkpoints: all.slice(0, 1) });
        await expect(seal()).rejects.toMatchObject({ code: "ERR_LEDGER_ROLLED_BACK" });
        Object.assign(database, { entries: 9, checkpoints: all });
      }
      expect(await seal()).toBe(9);
      expect(kept()).toEqual(headOf(9));
    },
  );

  it.each(["after the file", "before the commit", "after the commit"])(
    "does not set the file back where others signed a larger one meanwhile: %s",
    async (killAt) => {
      database.entries = 5;
      await seal();
      database.entries = 7;
      database.amid = async () => {
        database.entries = 9;
        expect(await seal()).toBe(9);
        database.killAt = killAt;
      };
      const ended = await seal().then(() => "sealed", String);
      database.killAt = null;
      expect(ended).toContain(killAt);
      expect(kept()).toEqual(headOf(9));
    },
  );

  it("takes over the file of an earlier version, and leaves one for each log", async () => {
    writeFileSync(join(folder, `${LOG}.head.json`), JSON.stringify(headOf(5)));
    database.entries = 4;
    await expect(seal()).rejects.toMatchObject({ code: "ERR_LEDGER_ROLLED_BACK" });
    database.entries = 6;
    new HeadFile(folder, `${LOG}.head`).write({ size: 99, root: "a".repeat(64) });
    expect(await seal()).toBe(6);
    expect(kept()).toEqual(headOf(6));
    expect(readdirSync(folder).sort()).toEqual([`${LOG}.head.6.json`, `${LOG}.head.head.99.json`]);
  });

  it("leaves the file to whoever signed a larger one meanwhile", async () => {
    database.entries = 5;
    await seal();
    database.entries = 6;
    database.checkpoints.push({ size: 6, note: "of another" });
    expect(await seal()).toBe(6);
    expect(kept()).toEqual(headOf(6));
  });
});
