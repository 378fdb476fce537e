import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Journal, ScramLatch } from "../../src/scram/index.ts";
import { Admission } from "../../src/sentinel/admission.ts";
import { StopBook } from "../../src/sentinel/stops-in-force.ts";

const folder = mkdtempSync(join(tmpdir(), "sov-admission-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const OWNER = { tenant_id: "acme", run_id: `run_${"a".repeat(20)}` };
const stop = {
  event_id: `SCRAM-${"1".repeat(20)}`,
  scope: { kind: "all" },
  reason: "operator_initiated",
  tripped_at: "2026-01-01T00:00:00.000Z",
} as const;

describe("whether a path may begin", () => {
  it("says why not by the code that its control is told: a lease that lapsed, or a stop", () => {
    const journal = Journal.open(join(folder, "journal.jsonl"));
    const stops = new StopBook(new ScramLatch(folder), journal);
    let refusal: string | null = null;
    const admission = new Admission(stops, () => ({ refusal }));
    expect(admission.refusal(OWNER)).toBeNull();
    refusal = "without word of the other machines";
    expect(admission.refusal(OWNER)).toMatchObject({ code: "ERR_SCRAM_LEASE" });
    expect(() => {
      admission.require(OWNER);
    }).toThrow(expect.objectContaining({ code: "ERR_SCRAM_LEASE" }));
    stops.add(stop);
    expect(admission.refusal(OWNER)).toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
  });
});
