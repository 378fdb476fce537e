import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LatchedStop, ScramLatch } from "../../src/scram/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-scram-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const RUN = `run_${"a".repeat(20)}`;
const OTHER = `run_${"b".repeat(20)}`;

function stop(change: Partial<LatchedStop> = {}): LatchedStop {
  return {
    event_id: `SCRAM-${"1".repeat(20)}`,
    scope: { kind: "all" },
    reason: "security_breach",
    tripped_at: "2026-01-01T00:00:00.000Z",
    ...change,
  };
}

describe("the latch", () => {
  it("is armed until it is tripped, and tripped for every process after that", () => {
    const latch = new ScramLatch(folder);
    expect(latch.preflight()).toEqual({ armed: true });
    latch.trip(stop());
    latch.sync();
    expect(new ScramLatch(folder).preflight()).toMatchObject({
      armed: false,
      code: "ERR_SCRAM_TRIPPED",
    });
    expect(latch.status()).toEqual({ state: "TRIPPED", stops: [stop()] });
  });

  it("stops what its scope covers, and lets the rest go on", () => {
    const latch = new ScramLatch(folder);
    latch.reserve();
    latch.trip(stop({ scope: { kind: "tenant", tenant_id: "acme" } }));
    latch.trip(
      stop({ event_id: `SCRAM-${"2".repeat(20)}`, scope: { kind: "run", run_id: OTHER } }),
    );
    expect(latch.preflight({ tenant_id: "acme", run_id: RUN }).armed).toBe(false);
    expect(latch.preflight({ tenant_id: "other", run_id: OTHER }).armed).toBe(false);
    expect(latch.preflight({ tenant_id: "other", run_id: RUN }).armed).toBe(true);
    expect(latch.preflight().armed).toBe(false);
  });

  it("lifts the stops that are named, and no other", () => {
    const latch = new ScramLatch(folder);
    const second = stop({ event_id: `SCRAM-${"2".repeat(20)}` });
    latch.trip(stop());
    latch.trip(second);
    latch.lift([stop().event_id]);
    expect(latch.status()).toEqual({ state: "TRIPPED", stops: [second] });
    latch.lift([second.event_id]);
    expect(latch.status()).toEqual({ state: "ARMED" });
  });

  it.each([
    ["empty", ""],
    ["not a record", "no JSON"],
    ["half written", '{"format":"sovereign.scram-la'],
    ["without a stop", '{"format":"sovereign.scram-latch","schema_version":"1.0.0","stops":[]}'],
  ])("covers everything when it is %s", (_, text) => {
    const latch = new ScramLatch(folder);
    writeFileSync(latch.path, text);
    expect(latch.preflight({ tenant_id: "acme", run_id: RUN }).armed).toBe(false);
    expect(latch.status()).toEqual({ state: "TRIPPED", stops: null });
    // And a further stop does not turn it into a narrower one.
    latch.trip(stop({ scope: { kind: "run", run_id: OTHER } }));
    expect(latch.preflight({ tenant_id: "acme", run_id: RUN }).armed).toBe(false);
  });

  it("is tripped when it is a folder, and when its own folder is gone", () => {
    const latch = new ScramLatch(join(folder, "inner"));
    mkdirSync(latch.path);
    expect(latch.preflight().armed).toBe(false);
    rmSync(join(folder, "inner"), { recursive: true });
    expect(latch.preflight()).toMatchObject({ armed: false, code: "ERR_SCRAM_UNREADABLE" });
    expect(() => {
      latch.trip(stop());
    }).toThrow(expect.objectContaining({ code: "ERR_SCRAM_UNWRITABLE" }));
  });

  it("uses room that was taken in advance", () => {
    const latch = new ScramLatch(folder);
    latch.reserve();
    expect(readFileSync(join(folder, "LATCH.spare")).length).toBe(4096);
    latch.trip(stop());
    expect(existsSync(join(folder, "LATCH.spare"))).toBe(false);
    expect(readFileSync(latch.path).length).toBe(4096);
    expect(latch.status()).toEqual({ state: "TRIPPED", stops: [stop()] });
  });
});
