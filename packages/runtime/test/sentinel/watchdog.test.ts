import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Watchdog } from "../../src/sentinel/watchdog.ts";

let folder: string;
let device: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sovereign-watchdog-"));
  device = join(folder, "watchdog");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const written = (): string => readFileSync(device, "latin1");

describe("a hardware watchdog", () => {
  it("is told again and again, and let go by the letter that says so on purpose", async () => {
    writeFileSync(device, "");
    const watchdog = new Watchdog(device);
    expect(watchdog.held).toBe(true);
    for (let waited = 0; written().length < 3 && waited < 20_000; waited += 50) await sleep(50);
    // Never the letter before the end: without it, the device takes the silence for a fault.
    expect(written()).toMatch(/^\0{3,}$/);
    watchdog.close();
    expect(written()).toMatch(/^\0{3,}V$/);
    expect(watchdog.held).toBe(false);
  });

  it("that is not there, or fails, is not held, and hinders nothing", () => {
    expect(new Watchdog(null).held).toBe(false);
    expect(new Watchdog(join(folder, "none", "watchdog")).held).toBe(false);
    // A device that takes nothing.
    const full = new Watchdog("/dev/full");
    expect(full.held).toBe(false);
    full.close();
  });
});
