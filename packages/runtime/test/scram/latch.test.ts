import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ScramLatch } from "../../src/scram/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-scram-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const AT = "2026-01-01T00:00:00.000Z";

describe("the latch", () => {
  it("is armed until it is tripped, and tripped for every process after that", () => {
    const latch = new ScramLatch(folder);
    expect(latch.preflight()).toEqual({ armed: true });
    expect(latch.trip("fire", AT)).toMatchObject({ state: "TRIPPED", record: { reason: "fire" } });
    expect(new ScramLatch(folder).preflight()).toMatchObject({
      armed: false,
      code: "ERR_SCRAM_TRIPPED",
    });
  });

  it("keeps the record of the first trip", () => {
    const latch = new ScramLatch(folder);
    latch.trip("first", AT);
    expect(latch.trip("second", AT)).toMatchObject({ record: { reason: "first" } });
  });

  it("is tripped by a latch that nobody can read, and by a folder that is gone", () => {
    const latch = new ScramLatch(join(folder, "inner"));
    writeFileSync(latch.path, "not a record");
    expect(latch.status()).toMatchObject({ state: "TRIPPED", record: null });
    rmSync(join(folder, "inner"), { recursive: true });
    expect(latch.preflight()).toMatchObject({ armed: false, code: "ERR_SCRAM_UNREADABLE" });
    expect(() => latch.trip("x", AT)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_UNWRITABLE" }),
    );
  });

  it("calls back once when it trips while work runs", async () => {
    const latch = new ScramLatch(folder);
    const reasons: string[] = [];
    const stop = latch.watch((reason) => reasons.push(reason), 5);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(reasons).toEqual([]);
    latch.trip("now", AT);
    expect(existsSync(latch.path)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(reasons).toHaveLength(1);
    stop();
  });
});
