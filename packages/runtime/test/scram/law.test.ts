import { describe, expect, it } from "vitest";
import { checkInvariants, SCRAM_INVARIANTS } from "../../src/sentinel/index.ts";
import { parseScramConfig } from "../../src/scram/index.ts";
import type { ActivationFacts } from "../../src/sentinel/invariants.ts";
import { passesSelfTest } from "../../src/sentinel/self-test.ts";

const HELD: ActivationFacts = {
  admittedAfterLatch: 0,
  terminationMs: 20,
  maxTerminationMs: 500,
  dualKey: true,
  watchdog: true,
  recorded: true,
  allDead: true,
  unregistered: 0,
  lawInForce: true,
};

describe("the invariants", () => {
  it("all hold where nothing went wrong", () => {
    const { checked, passed, failed } = checkInvariants(HELD);
    expect(checked).toHaveLength(8);
    expect(passed).toEqual(checked);
    expect(failed).toEqual([]);
  });

  it.each<[string, Partial<ActivationFacts>]>([
    ["INV-SYS-002", { admittedAfterLatch: 1 }],
    ["INV-SCRAM-001", { terminationMs: 501 }],
    ["INV-SCRAM-001", { terminationMs: null }],
    ["INV-SCRAM-002", { dualKey: false }],
    ["INV-SCRAM-003", { watchdog: false }],
    ["INV-SCRAM-004", { recorded: false }],
    ["INV-SCRAM-005", { allDead: false }],
    ["INV-SCRAM-006", { unregistered: 1 }],
    ["INV-GOV-003", { lawInForce: false }],
  ])("%s fails alone when %o", (id, change) => {
    expect(checkInvariants({ ...HELD, ...change }).failed).toEqual([id]);
  });

  it("are enforced as the specification says", () => {
    const soft = SCRAM_INVARIANTS.filter(({ enforcement }) => enforcement === "SOFT");
    expect(soft.map(({ id }) => id)).toEqual(["INV-SCRAM-003", "INV-SCRAM-006"]);
  });
});

describe("the configuration", () => {
  it("has the law's values by default, and may be stricter", () => {
    expect(parseScramConfig(undefined)).toMatchObject({
      max_termination_ms: 500,
      require_dual_key: true,
      fail_closed_on_error: true,
      authorization_timeout_seconds: 30,
    });
    expect(parseScramConfig({ max_termination_ms: 300 }).max_termination_ms).toBe(300);
  });

  it.each([
    [{ max_termination_ms: 501 }],
    [{ require_dual_key: false }],
    [{ fail_closed_on_error: false }],
    [{ sentinel_path: "/tmp/signal" }],
    [{ sentinel_path: ".." }],
    [{ max_termination_ms: "500" }],
    [{ unknown_setting: 1 }],
    ["scram"],
  ])("refuses %o", (value) => {
    expect(() => parseScramConfig(value)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_CONFIG" }),
    );
  });
});

describe("the known-answer test", () => {
  it("passes", () => {
    expect(passesSelfTest()).toBe(true);
  });
});

it("without a watchdog a stop is complete, and says that this is expected", () => {
  const without = SCRAM_INVARIANTS.find(({ id }) => id === "INV-SCRAM-003");
  expect(without?.broken).toMatch(/The stop is complete without one; this is expected unless/);
});
