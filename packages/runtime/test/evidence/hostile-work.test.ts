import {
  type ComplianceBundle,
  digestOf,
  evaluateGates,
  type JsonObject,
  type PlacedEntry,
  readGateInputs,
  SovereignError,
  type Statement,
  utf8Encode,
  type VerificationStep,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { platform } from "../../../core/src/platform/node.ts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type AgentEvidence, agentWorld, NAMES } from "../support/agent-evidence.ts";
import type { EvidenceWorld } from "../support/evidence.ts";
import { Forgery } from "../support/forger.ts";
import { bundleOf, pipelineWorld } from "../support/vector-world.ts";

/** Whoever writes evidence with keys of their own may make it as long as they like. */
let pipeline: EvidenceWorld;
let agent: AgentEvidence;
let genuine: ComplianceBundle;
let ofAgent: ComplianceBundle;
beforeAll(async () => {
  pipeline = await pipelineWorld();
  agent = await agentWorld();
  genuine = await bundleOf(pipeline);
  ofAgent = await agent.bundle();
});
afterAll(() => {
  pipeline.dispose();
  agent.dispose();
});

const askPlatform = platform.verifyEd25519.bind(platform);
const askSha256 = platform.sha256Hex.bind(platform);
afterEach(() => {
  platform.verifyEd25519 = askPlatform;
  platform.sha256Hex = askSha256;
});

function forgery(world: EvidenceWorld, bundle: ComplianceBundle): Forgery {
  return new Forgery(bundle, (purpose, role) => world.world.authority.signer(purpose, role));
}

function failureOf(one: Forgery, world: EvidenceWorld): string {
  const report = verifyBundle(one.bytes(), { trustRoot: world.trustRoot() });
  const [failure] = report.steps.flatMap((step) => step.first_failure ?? []);
  return `${report.verdict} ${failure?.place ?? ""} ${failure?.message ?? ""}`;
}

function attestationOf(one: Forgery, world: EvidenceWorld): VerificationStep {
  const { steps } = verifyBundle(one.bytes(), { trustRoot: world.trustRoot() });
  return steps.find(({ name }) => name === "attestation")!;
}

/** Put the same entry there again, signed anew where it names an envelope. */
async function repeat(one: Forgery, placed: PlacedEntry, times: number): Promise<void> {
  const at = one.bundle.entries.indexOf(placed);
  for (let time = 0; time < times; time++) {
    const again = structuredClone(placed);
    one.bundle.entries.splice(at + 1, 0, again);
    if (placed.entry.event_type !== "attestation.issued") continue;
    const later = `2025-01-01T00:00:00.${String(time).padStart(3, "0")}Z`;
    const change = ({ predicate }: { predicate: JsonObject }): void => {
      predicate["evaluated_at"] = later;
    };
    await one.resign(again, "receipt", change, ["attestation", null]);
  }
  await one.rebuild();
}

describe("the work that evidence can make", { timeout: 120_000 }, () => {
  it("is one signature for an envelope, however many entries name it", async () => {
    const one = forgery(pipeline, genuine);
    const authorized = one.entry("execution.authorized", 1);
    const named = authorized.entry.data["envelopes"] as Record<string, string>;
    const data = {
      approver: "release_manager",
      action_digest: authorized.entry.data["action_digest"] ?? "",
      key_epoch: authorized.entry.data["key_epoch"] ?? 0,
      envelopes: { approval: named["approval_1"] ?? "" },
      given_at: authorized.entry.timestamp,
    };
    const entry = { ...authorized.entry, event_type: "approval.granted", data };
    for (let time = 0; time < 300; time++) {
      one.bundle.entries.splice(-1, 0, { index: 0, hash: "", entry: structuredClone(entry) });
    }
    // By no key at all: whoever asks again is told the same, and nothing is tried again.
    const envelope = structuredClone(one.envelope(authorized, "approval_1"));
    envelope.signatures[0]!.sig = Buffer.alloc(64, 1).toString("base64");
    for (const placed of one.bundle.entries.slice(-200, -1)) one.put(placed, "approval", envelope);
    await one.rebuild();
    let asked = 0;
    platform.verifyEd25519 = (...all) => {
      asked += 1;
      return askPlatform(...all);
    };
    expect(failureOf(one, pipeline)).toMatch(/^INVALID .*No key of the key log/);
    const { envelopes, key_log: keys } = one.bundle;
    // Each once, the bad one with each key, and the two heads.
    expect(asked).toBeLessThanOrEqual(Object.keys(envelopes).length + 2 * keys.length + 4);
  });

  it("is no judgement of the same votes a ninth time", async () => {
    const one = forgery(pipeline, genuine);
    await repeat(one, one.entry("consensus.reached"), 7);
    expect(failureOf(one, pipeline)).toMatch(/^VALID/);
    const more = forgery(pipeline, genuine);
    await repeat(more, more.entry("consensus.reached"), 8);
    expect(failureOf(more, pipeline)).toMatch(/^INVALID .*judged more often/);
  });

  it("is no ninth receipt of the gates", async () => {
    const receipt = (one: Forgery): PlacedEntry => one.entry("attestation.issued", 3);
    const one = forgery(agent.made, ofAgent);
    await repeat(one, receipt(one), 7);
    expect(failureOf(one, agent.made)).toMatch(/^VALID/);
    const more = forgery(agent.made, ofAgent);
    await repeat(more, receipt(more), 8);
    expect(failureOf(more, agent.made)).toMatch(/^INVALID .*more receipts/);
  });

  it("is no ninth receipt of the gates, although the others failed", async () => {
    const one = forgery(agent.made, ofAgent);
    const receipt = one.entry("attestation.issued", 3);
    const at = one.bundle.entries.indexOf(receipt);
    for (let time = 0; time < 8; time++) {
      const bad = structuredClone(receipt);
      const change = ({ predicate }: { predicate: JsonObject }): void => {
        predicate["inputs"] = { [NAMES.result]: String(time).repeat(64) };
      };
      await one.resign(bad, "receipt", change, ["attestation", null]);
      one.bundle.entries.splice(at, 0, bad);
    }
    await one.rebuild();
    const step = attestationOf(one, agent.made);
    expect(step.first_failure).toMatchObject({ place: `entries[${at}]` });
    expect(step.first_failure?.message).toContain("is not what the gates judged");
    // The eight, and the ninth, which is the genuine one; without a receipt it is no execution.
    expect(step.checked - step.passed).toBe(10);
  });

  it("is no seal before the last entry", async () => {
    const one = forgery(pipeline, genuine);
    const { entries } = one.bundle;
    const first = entries[0]!;
    const last = one.entry("run.sealed");
    const count = 40;
    const head = "a".repeat(64);
    last.entry.data = { ...last.entry.data, count, head };
    const change = (made: Statement & { predicate: JsonObject }): void => {
      Object.assign(made.predicate, { count, head, artifacts: [] });
      made.subject[0]!.digest.sha256 = head;
    };
    await one.resign(last, "run_proof", change, ["seal", null]);
    last.entry = { ...last.entry, previous_hash: head };
    const seals = Array.from({ length: count }, () => structuredClone(last));
    entries.splice(0, entries.length, first, ...seals);
    one.remanifest();
    expect(failureOf(one, pipeline)).toMatch(/^INVALID /);
    expect(attestationOf(one, pipeline).first_failure).toMatchObject({
      place: "entries[1]",
      message: "Something follows run.sealed.",
    });
  });

  it("is no list of judges that an entry cannot name", async () => {
    const one = forgery(pipeline, genuine);
    const { entries } = one.bundle;
    // No key is needed: a snapshot that cannot be opened declares no ballots.
    one.at(0).entry.data["envelopes"] = { config_snapshot: "0".repeat(64) };
    const judge = entries.find(
      ({ entry }) => (entry.data["action"] as JsonObject | undefined)?.["type"] === "agent.judge",
    )!;
    const more = Array.from({ length: 30 }, (_, at) => {
      const again = structuredClone(judge);
      const role = `r${at}`;
      Object.assign(again.entry.data["context"] as JsonObject, { role, step_id: `ballot.${role}` });
      return again;
    });
    entries.splice(1, 0, ...more);
    await one.rebuild();
    const place = `entries[${entries.indexOf(one.entry("consensus.reached"))}]`;
    expect(failureOf(one, pipeline)).toMatch(/^INVALID /);
    expect(attestationOf(one, pipeline).first_failure).toMatchObject({
      place,
      message: "The number of voters: expected 32, found 2.",
    });
  });

  it("is one digest of a long statement, however many entries name it", async () => {
    const one = forgery(pipeline, genuine);
    const first = one.entry("execution.authorized");
    const roles = Array.from({ length: 4000 }, (_, at) => `r${at}`.padEnd(60, "x"));
    const change = ({ predicate }: { predicate: JsonObject }): void => {
      const decision = predicate["decision"] as JsonObject;
      predicate["decision"] = { ...decision, approvals: { required: 1, roles } };
    };
    await one.resign(first, "binding", change, ["binding", null]);
    const at = one.bundle.entries.indexOf(first);
    const again = Array.from({ length: 20 }, () => structuredClone(first));
    for (const [nth, placed] of again.entries()) {
      const before = placed.entry.data["context"] as { role: string } & JsonObject;
      const context = { ...before, step_id: `s${nth}` };
      const context_digest = digestOf(context);
      placed.entry.data = { ...placed.entry.data, context, context_digest };
      const own = ({ predicate }: { predicate: JsonObject }): void => {
        const { length } = predicate["nonce"] as string;
        Object.assign(predicate, { context_digest, nonce: context_digest.slice(0, length) });
      };
      await one.resign(placed, "role", own, ["role", before.role]);
    }
    one.bundle.entries.splice(at, 0, ...again);
    await one.rebuild();
    let long = 0;
    platform.sha256Hex = (data) => {
      if (data.length > 100_000) long += 1;
      return askSha256(data);
    };
    expect(failureOf(one, pipeline)).toMatch(/^INVALID .*The binding's decision/);
    // A few of the bundle and its sections, and not one more for each of the twenty entries.
    expect(long).toBeLessThan(20);
  });

  it("is no more steps than are numbered, in no document", () => {
    for (const name of [NAMES.result, NAMES.checksums]) {
      const document = JSON.parse(Buffer.from(agent.contents.get(name) ?? []).toString()) as {
        steps: unknown[];
      };
      document.steps = Array.from({ length: 1001 }, () => document.steps[0]);
      const contents = new Map(agent.contents).set(name, utf8Encode(JSON.stringify(document)));
      expect(() => readGateInputs(contents, agent.entries)).toThrow(SovereignError);
    }
  });

  it("is no more trees than are looked at, in the checksums of a run", () => {
    const text = Buffer.from(agent.contents.get(NAMES.checksums) ?? []).toString();
    const document = JSON.parse(text) as { steps: { files: unknown[]; links?: unknown }[] };
    const file = (path: string): unknown => ({
      ...{ path, status: "added", before: null },
      after: "0".repeat(64),
    });
    const first = {
      ...document.steps[0],
      files: Array.from({ length: 15_000 }, (_, at) => file(`f${at}.txt`)),
    };
    const others = Array.from({ length: 999 }, () => ({ ...first, files: [file("f0.txt")] }));
    document.steps = [first, ...others];
    const contents = new Map(agent.contents);
    contents.set(NAMES.checksums, utf8Encode(JSON.stringify(document)));
    const { results } = evaluateGates(readGateInputs(contents, agent.entries));
    const found = results.find(({ gate }) => gate === "EX-A");
    expect(found).toMatchObject({ verdict: "fail" });
    expect(found?.message).toContain("more trees and links than are looked at");
  });
});
