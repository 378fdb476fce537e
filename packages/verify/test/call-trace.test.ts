import type { EntryData, PlacedEntry } from "@sovereign/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CallTrace } from "../src/call-trace.ts";
import type { Evidence } from "../src/evidence.ts";

const CALLS = 400;
const BUDGET = { microusd: null, tokens: null };
const evidence = {
  events: { data: (placed: PlacedEntry) => placed.entry.data },
} as unknown as Evidence;

function entryOf(event: string, data: object): PlacedEntry {
  return { entry: { event_type: event, data } } as unknown as PlacedEntry;
}

/** What is said of one entry; empty where nothing is. */
function told(trace: CallTrace, placed: PlacedEntry): string {
  try {
    trace.follow(evidence, placed);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("the calls of a run without an end", () => {
  it("are counted by each seal, and walked by none", () => {
    const admitted = { policy_digest: "", mode: "sovereign" } as EntryData<"run.admitted">;
    const trace = new CallTrace(admitted, { tenant_id: "acme" });
    const seal = entryOf("run.sealed", {});
    expect(told(trace, seal)).toBe("");
    for (let at = 0; at < CALLS; at++) {
      const reserved = { tokens: 1, microusd: 1 };
      told(
        trace,
        entryOf("llm.reserved", { call: `c${at}`, budget: BUDGET, reserved, totals: {} }),
      );
    }
    const walks = vi.spyOn(Map.prototype, "keys");
    for (let at = 0; at < CALLS; at++) {
      expect(told(trace, seal)).toBe(`${CALLS} model calls have no end.`);
    }
    const walked = walks.mock.contexts.filter((map) => (map as Map<string, object>).size === CALLS);
    expect(walked).toHaveLength(0);
  });
});
