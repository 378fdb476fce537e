import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ownerConfig, startEmbedded, stopEmbedded } from "../../src/store/embedded.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-last-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the embedded server", () => {
  it("is stopped by the last one out, also while a connection is still ending", async () => {
    const target = await startEmbedded(folder);
    const client = new pg.Client(ownerConfig(target));
    await client.connect();
    // It is in use for as long as somebody stays.
    expect(await stopEmbedded(target, folder)).toBe(false);
    const stopping = stopEmbedded(target, folder);
    await sleep(100);
    await client.end();
    expect(await stopping).toBe(true);
    expect(existsSync(join(folder, "data", "postmaster.pid"))).toBe(false);
  });
});
