import { spawn } from "node:child_process";
import { once } from "node:events";
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

const EMBEDDED = new URL("../../src/store/embedded.ts", import.meta.url).href;

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

  it("is left to another process that lives, and stopped once that one was killed", async () => {
    const target = await startEmbedded(folder);
    const other = spawn(process.execPath, ["--input-type=module", "-e", OTHER, folder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(other, "exit");
    await once(other.stdout, "data");
    expect(await stopEmbedded(target, folder)).toBe(false);
    other.kill("SIGKILL");
    await ended;
    expect(await stopEmbedded(target, folder)).toBe(true);
    expect(existsSync(join(folder, "data", "postmaster.pid"))).toBe(false);
  });
});

/** A process that uses the server, and never leaves by itself. */
const OTHER = `
  import pg from "pg";
  const { ownerConfig, startEmbedded } = await import(${JSON.stringify(EMBEDDED)});
  const client = new pg.Client(ownerConfig(await startEmbedded(process.argv[1])));
  await client.connect();
  console.log("connected");
  setInterval(() => undefined, 1000);
`;
