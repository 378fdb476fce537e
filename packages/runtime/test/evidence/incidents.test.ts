import type { ComplianceBundle, JsonObject } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { raiseFor } from "../../src/services/runs/run-incidents.ts";
import { RunStopped } from "../../src/runs/index.ts";
import { EvidenceWorld, RUN } from "../support/evidence.ts";
import { Forgery } from "../support/forger.ts";
import { TRAIN } from "../support/world.ts";

let made: EvidenceWorld;
let genuine: ComplianceBundle;
beforeAll(async () => {
  made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    const reason = "The kill switch is tripped.";
    world.result = { status: "killed", code: "ERR_SCRAM_TRIPPED", reason };
    const step = { stepId: "again", role: "trainer", action: TRAIN };
    const stopped = await session.perform(step).catch((error: unknown) => error);
    if (!(stopped instanceof RunStopped)) throw new Error("the step was not stopped");
    const incidents = { denialsSince: () => Promise.resolve(0) };
    await raiseFor({ session, incidents, clock: world.clock }, stopped);
    return "failed";
  });
  genuine = await made.bundle();
});
afterAll(() => {
  made.dispose();
});

function forgery(): Forgery {
  return new Forgery(genuine, (purpose, role) => made.world.authority.signer(purpose, role));
}

function judged(one: Forgery): { verdict: string; place: string | undefined } {
  const { verdict, steps } = verifyBundle(one.bytes(), { trustRoot: made.trustRoot() });
  const failed = steps.find((step) => step.first_failure !== null);
  return { verdict, place: failed?.first_failure?.place };
}

const EVENT = "incident.raised";

describe("an incident in evidence", () => {
  it("is VALID as it was raised", () => {
    expect(forgery().entry(EVENT).entry.data).toMatchObject({ kind: "kill", step_id: "again" });
    expect(judged(forgery())).toEqual({ verdict: "VALID", place: undefined });
  });

  const edits: readonly [string, (one: Forgery) => void][] = [
    [
      "left out",
      (one) => one.bundle.entries.splice(one.bundle.entries.indexOf(one.entry(EVENT)), 1),
    ],
    ["of less severity", (one) => (one.entry(EVENT).entry.severity = "INFO")],
    ["of another step", (one) => (one.entry(EVENT).entry.data["step_id"] = "other")],
    ["of another kind", (one) => (one.entry(EVENT).entry.data["kind"] = "budget")],
    ["with other words", (one) => (one.entry(EVENT).entry.data["summary"] = "nothing happened")],
    ["of another event", (one) => (one.entry(EVENT).entry.event_type = "incident.resolved")],
  ];
  it.each(edits)("is INVALID where nobody's key made it fit: %s", (_name, edit) => {
    const one = forgery();
    edit(one);
    one.rechain();
    one.remanifest();
    expect(judged(one).verdict).toBe("INVALID");
  });

  // With the keys that seal and sign heads everything fits, but for what the event's form refuses.
  const forms: readonly [string, JsonObject][] = [
    ["no kind", { kind: null }],
    ["a kind that is too long", { kind: "k".repeat(61) }],
    ["no summary", { summary: null }],
    ["a summary that is too long", { summary: "s".repeat(2001) }],
    ["a step that is no name", { step_id: 7 }],
    ["a subject that is too long", { subject: "s".repeat(401) }],
    ["an envelope", { envelopes: {}, key_epoch: 1 }],
  ];
  it.each(forms)("is INVALID by whatever key, with %s", async (_name, change) => {
    const one = forgery();
    const placed = one.entry(EVENT);
    Object.assign(placed.entry.data, change);
    await one.rebuild();
    const place = `entries[${one.bundle.entries.indexOf(placed)}].data`;
    expect(judged(one)).toEqual({ verdict: "INVALID", place });
  });

  it("stands nowhere after the seal", async () => {
    const one = forgery();
    const [placed] = one.bundle.entries.splice(one.bundle.entries.indexOf(one.entry(EVENT)), 1);
    await one.rebuild();
    if (placed !== undefined) one.bundle.entries.push(placed);
    one.rechain();
    one.remanifest();
    expect(judged(one).verdict).toBe("INVALID");
  });
});
