import { type ChildProcess, fork } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { HeadFile } from "../../src/store/head-file.ts";
import { Store } from "../../src/store/index.ts";

const PROGRAM = join(import.meta.dirname, "../support/sealing-program.ts");
const LOG = "acme";
const ROUNDS = 12;

const home = mkdtempSync(join(tmpdir(), "sov-head-kill-"));
const options = {
  folder: join(home, "postgres"),
  headsFolder: join(home, "ledger"),
  databaseUrl: null,
};
let store: Store;
let owner: pg.Client;
beforeAll(async () => {
  store = await Store.open(options);
  owner = new pg.Client(ownerConfig(await startEmbedded(options.folder)));
  await owner.connect();
});
afterAll(async () => {
  await owner.end();
  await store.close();
  rmSync(home, { recursive: true, force: true });
});

/** Signs until it is killed. It has signed once when this resolves. */
async function signing(): Promise<ChildProcess> {
  const child = fork(PROGRAM, [options.folder, options.headsFolder, LOG], { stdio: "ignore" });
  await once(child, "message");
  return child;
}

async function largestSigned(): Promise<number> {
  const found = await owner.query<{ size: string }>(
    "select size from sovereign.checkpoints where log_id = $1 order by size desc limit 1",
    [LOG],
  );
  return Number(found.rows[0]?.size ?? 0);
}

it("processes that sign at once and are killed leave no file below what was signed", async () => {
  let last = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const children = await Promise.all([signing(), signing(), signing()]);
    for (const child of children) {
      await sleep(randomInt(40));
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      // What the killed one asked of the server may still be done there; others go on.
      const kept = new HeadFile(options.headsFolder, LOG).read()?.size ?? 0;
      expect(kept).toBeGreaterThanOrEqual(last);
      last = kept;
    }
    await sleep(50);
    const signed = await largestSigned();
    const kept = new HeadFile(options.headsFolder, LOG).read()?.size ?? 0;
    expect(signed).toBeGreaterThan(0);
    expect(kept).toBeGreaterThanOrEqual(signed);
  }
});
