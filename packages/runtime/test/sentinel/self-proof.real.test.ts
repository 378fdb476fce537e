import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type JsonObject, base64Decode, parseStatement } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { describeSelfProof, isUnproved } from "../../src/cli/sentinel-text.ts";
import type { SelfProofHealth } from "../../src/services/scram/scram-reports.ts";
import { connectScram } from "../../src/home/index.ts";
import type { DrillRig } from "../../src/services/index.ts";
import { Journal, type ScramLink } from "../../src/scram/index.ts";
import { EnvelopeStore } from "../../src/scram/envelope-store.ts";
import { findOurs } from "../../src/scram/termination.ts";
import { ENVIRONMENT, pidsOf, rig, stateOf } from "../support/scram-rig.ts";

const HANG_MS = 60_000;
/** 0.6 s. */
const OFTEN = "scram:\n  self_proof_minutes: 0.01\n  linger_seconds: 2\n";

/** A sentinel that reads the settings of a test. */
async function withSettings(text: string): Promise<{ one: DrillRig; link: ScramLink }> {
  const one = await rig();
  process.kill((await pidsOf(one.link)).pid, "SIGKILL");
  await expect.poll(() => one.link.alive, { timeout: HANG_MS }).toBe(false);
  writeFileSync(join(one.home, "config.yaml"), text);
  return { one, link: await connectScram(one.home, ENVIRONMENT) };
}

async function proofOf(link: ScramLink): Promise<SelfProofHealth> {
  const status = (await link.request({ t: "status" })) as unknown as {
    self_proof: SelfProofHealth;
  };
  return status.self_proof;
}

function proofsOf(one: DrillRig): { event: string; data: JsonObject }[] {
  const { lines } = Journal.open(join(one.home, "scram", "journal.jsonl"));
  return lines.filter(({ event }) => event.startsWith("self_proof."));
}

describe("the switch proves itself", () => {
  it("by a path that it starts and kills; signed, recorded once, and no work", async () => {
    const { one, link } = await withSettings(OFTEN);
    const outcome = async (): Promise<string> => {
      const { state, last } = await proofOf(link);
      return `${state} ${last?.failure ?? ""}`;
    };
    await expect.poll(outcome, { timeout: HANG_MS }).toBe("passed ");
    const { last } = await proofOf(link);
    expect(last).toMatchObject({ outcome: "passed", survivors: 0, failure: null });
    expect(last?.processes).toBeGreaterThan(0);
    const again = async (): Promise<boolean> =>
      (await proofOf(link)).last?.started_at !== last?.started_at;
    await expect.poll(again, { timeout: HANG_MS }).toBe(true);
    // The journal is never cut: the second one, like the first, is not written.
    const [line, ...more] = proofsOf(one);
    expect(more).toEqual([]);
    const { proof } = line?.data["envelopes"] as { proof: string };
    const stored = new EnvelopeStore(join(one.home, "scram", "envelopes")).get(proof);
    const { payload } = stored;
    const signed = parseStatement(base64Decode(payload), "scram-self-proof").predicate;
    expect(signed).toEqual(line?.data["proof"]);
    expect(await link.request({ t: "status" })).toMatchObject({ state: "ARMED", paths: 0 });
    const { pid } = await pidsOf(link);
    link.close();
    // It keeps no sentinel from leaving.
    await expect
      .poll(
        () => {
          try {
            process.kill(pid, 0);
            return true;
          } catch {
            return false;
          }
        },
        { timeout: HANG_MS },
      )
      .toBe(false);
    expect(findOurs({ name: link.name, paths: [], everything: true })).toEqual([]);
  });

  it("not while it is stopped, and a stop in between is a stop like any other", async () => {
    const { one, link } = await withSettings(OFTEN);
    await expect.poll(async () => (await proofOf(link)).state, { timeout: HANG_MS }).toBe("passed");
    const envelope = one.order() as unknown as JsonObject;
    const { event } = (await link.request({ t: "order", envelope })) as unknown as {
      event: { scram_state: string };
    };
    expect(event.scram_state).toBe("COMPLETE");
    const { last } = await proofOf(link);
    await sleep(2000);
    expect((await proofOf(link)).last).toEqual(last);
    expect((await proofOf(link)).state).toBe("passed");
    expect(findOurs({ name: link.name, paths: [], everything: true })).toEqual([]);
    link.close();
    expect(await stateOf(one)).toBe("COMPLETE");
  });
});

describe("what is said of the proof", () => {
  const last = {
    installation_id: `ins_${"0".repeat(20)}`,
    started_at: "2026-01-01T00:00:00.000Z",
    outcome: "failed",
    t_reaped_ms: null,
    bound_ms: 500,
    rung: "G3",
    backend: "bubblewrap",
    processes: 3,
    survivors: 2,
    failure: "it was not verified dead in time",
  } as const;

  it.each([
    ["failed", last, true, "FAILED 7 s ago (not verified dead, 2 survivors"],
    ["overdue", null, true, "OVERDUE: none was made yet"],
    ["overdue", { ...last, outcome: "passed" as const }, true, "OVERDUE: the last one passed"],
    ["waiting", null, false, "none was made yet"],
    ["off", null, false, "off"],
  ] as const)("%s", (state, found, unproved, text) => {
    const proof = { state, age_seconds: found === null ? null : 7, last: found };
    expect(isUnproved(proof)).toBe(unproved);
    expect(describeSelfProof(proof)).toContain(text);
  });
});
