import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database } from "../../src/store/database.ts";
import { startEmbedded, stopEmbedded } from "../../src/store/embedded.ts";
import { Store } from "../../src/store/index.ts";

const home = mkdtempSync(join(tmpdir(), "sov-large-"));
const folder = join(home, "pg");
let database: Database;
beforeAll(async () => {
  await (await Store.open({ folder, headsFolder: join(home, "l"), databaseUrl: null })).close();
  database = new Database(await startEmbedded(folder));
});
afterAll(async () => {
  await database.close();
  await stopEmbedded(await startEmbedded(folder), folder);
  rmSync(home, { recursive: true, force: true });
});

const ask = <T extends pg.QueryResultRow>(text: string): Promise<T[]> =>
  database.read("", async (client) => (await client.query<T>(text)).rows);

describe("rows that are larger than any that is written", () => {
  // The driver makes one text of a row: above 512 MiB there is none, and that ended the process.
  it.each([
    ["a row", "select convert_to(repeat('x', 300 * 1024 * 1024), 'UTF8') as bytes"],
    ["an answer", "select repeat('x', 1024 * 1024) as text from generate_series(1, 300)"],
  ])("%s is an error of whoever asked, and the next is answered", async (what, text) => {
    await expect(ask(text)).rejects.toMatchObject({
      code: "ERR_LEDGER_CORRUPT",
      message: expect.stringContaining(`The database has ${what} of`) as string,
    });
    expect(await ask("select 1 as one")).toEqual([{ one: 1 }]);
  });

  it("leave those that are written as they are, one after another", async () => {
    const text =
      "select convert_to(repeat('x', 65535), 'UTF8') as bytes from generate_series(1, 1000)";
    for (let round = 0; round < 3; round++) {
      const rows = await ask<{ bytes: Buffer }>(text);
      expect(rows.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(65_535_000);
    }
  });
});
