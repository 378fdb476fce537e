import {
  canonicalBytes,
  type ComplianceBundle,
  type Envelope,
  type JsonObject,
  type JsonValue,
  type KeyPurpose,
  parseStrictJson,
  type PlacedEntry,
  SOURCE_SUMMARY_TYPE,
  type Statement,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentWorld } from "../support/agent-evidence.ts";
import type { EvidenceWorld } from "../support/evidence.ts";
import { Forgery } from "../support/forger.ts";
import { sourceWorld } from "../support/source-evidence.ts";
import { bundleOf, pipelineWorld } from "../support/vector-world.ts";

/** Where a bundle names a signed document, and the key that has to sign it. */
interface Place {
  readonly base: "pipeline" | "agent" | "source";
  readonly event: string;
  readonly nth?: number;
  readonly name: string;
  readonly by: readonly [KeyPurpose, string | null];
}

const PLACES: Readonly<Record<string, Place>> = {
  "config-snapshot": {
    ...{ base: "pipeline", event: "run.admitted", name: "config_snapshot" },
    by: ["config", null],
  },
  "role-assignment": {
    ...{ base: "pipeline", event: "execution.authorized", name: "role" },
    by: ["role", "trainer"],
  },
  "policy-binding": {
    ...{ base: "pipeline", event: "execution.authorized", name: "binding" },
    by: ["binding", null],
  },
  approval: {
    ...{ base: "pipeline", event: "execution.authorized", nth: 1, name: "approval_1" },
    by: ["approval", "release_manager"],
  },
  vote: {
    ...{ base: "pipeline", event: "attestation.issued", name: "vote_1" },
    by: ["role", "trainer"],
  },
  provenance: {
    ...{ base: "pipeline", event: "attestation.issued", nth: 1, name: "provenance" },
    by: ["attestation", null],
  },
  "rollback-proof": {
    ...{ base: "pipeline", event: "attestation.issued", nth: 2, name: "proof" },
    by: ["attestation", null],
  },
  "run-proof": {
    ...{ base: "pipeline", event: "run.sealed", name: "run_proof" },
    by: ["seal", null],
  },
  "tool-task": {
    ...{ base: "agent", event: "attestation.issued", nth: 1, name: "task_pack" },
    by: ["role", "trainer"],
  },
  "tool-result": {
    ...{ base: "agent", event: "attestation.issued", nth: 2, name: "result_pack" },
    by: ["attestation", null],
  },
  "gate-receipt": {
    ...{ base: "source", event: "attestation.issued", nth: 1, name: "receipt" },
    by: ["attestation", null],
  },
  source: {
    ...{ base: "source", event: "attestation.issued", nth: 2, name: "source" },
    by: ["attestation", null],
  },
};

/** Every other purpose whose key could sign, with a holder where the purpose has them. */
const SIGNERS: readonly (readonly [KeyPurpose, string | null])[] = [
  ["root", null],
  ["checkpoint", null],
  ["config", null],
  ["binding", null],
  ["seal", null],
  ["attestation", null],
  ["role", "trainer"],
  ["role", "deployer"],
  ["approval", "release_manager"],
  ["approval", "safety_officer"],
];

type Base = Place["base"];
const worlds = new Map<Base, EvidenceWorld>();
const bundles = new Map<Base, ComplianceBundle>();
/** What each kind of document says, as it was signed. */
const documents = new Map<string, JsonValue>();

beforeAll(async () => {
  const agent = await agentWorld();
  const pipeline = await pipelineWorld();
  const { made: source } = await sourceWorld();
  for (const [base, world] of [
    ["pipeline", pipeline],
    ["agent", agent.made],
    ["source", source],
  ] as const) {
    worlds.set(base, world);
    const bundle = { agent: () => agent.bundle(), pipeline: () => bundleOf(world) };
    bundles.set(base, base === "source" ? await world.bundle() : await bundle[base]());
    expect(verdictOf(forgery(base), base)).toBe("VALID");
  }
  for (const [kind, place] of Object.entries(PLACES)) {
    const one = forgery(place.base);
    documents.set(kind, payloadOf(one.envelope(one.entry(place.event, place.nth), place.name)));
  }
  const one = forgery("pipeline");
  const [first] = one.bundle.key_log;
  if (first === undefined) throw new Error("no key log");
  documents.set("key-event", payloadOf(one.envelope(first, "key_event")));
});
afterAll(() => {
  for (const world of worlds.values()) world.dispose();
});

function payloadOf({ payload }: Envelope): JsonValue {
  return parseStrictJson(Buffer.from(payload, "base64"));
}

function forgery(base: Base): Forgery {
  const [world, bundle] = [worlds.get(base), bundles.get(base)];
  if (world === undefined || bundle === undefined) throw new Error(`no world ${base}`);
  return new Forgery(bundle, (purpose, role) => world.world.authority.signer(purpose, role));
}

function verdictOf(one: Forgery, base: Base, source?: Uint8Array): string {
  const trustRoot = worlds.get(base)?.trustRoot() ?? null;
  const beside = source === undefined ? {} : { source };
  return verifyBundle(one.bytes(), { trustRoot, ...beside }).verdict;
}

/** All that a thief of the keys that head and seal can make fit, but for the seal where it is forged. */
async function fit(one: Forgery, { event }: Place): Promise<void> {
  if (event !== "run.sealed") {
    await one.rebuild();
    return;
  }
  one.rechain();
  await one.rehead();
  one.remanifest();
}

const places = Object.entries(PLACES);

describe("a document that was signed for one purpose", { timeout: 120_000 }, () => {
  it.each(places)("is none for another, in the place of a %s", async (kind, place) => {
    const { base, event, nth, name, by } = place;
    const accepted: string[] = [];
    for (const [other, body] of documents) {
      if (other === kind) continue;
      const signers = [by, PLACES[other]?.by ?? (["root", null] as const)];
      for (const signer of signers) {
        const one = forgery(base);
        await one.sign(one.entry(event, nth), name, body, signer);
        await fit(one, place);
        if (verdictOf(one, base) !== "INVALID") accepted.push(`${other} by ${signer.join(" ")}`);
      }
    }
    expect(accepted).toEqual([]);
  });

  it.each(places)("is none by the key of another purpose or holder: %s", async (kind, place) => {
    const { base, event, nth, name, by } = place;
    const accepted: string[] = [];
    for (const signer of SIGNERS.filter((one) => one.join(" ") !== by.join(" "))) {
      const one = forgery(base);
      await one.sign(one.entry(event, nth), name, documents.get(kind) ?? null, signer);
      await fit(one, place);
      if (verdictOf(one, base) !== "INVALID") accepted.push(signer.join(" "));
    }
    expect(accepted).toEqual([]);
  });

  it.each(places)("is none as another payload type: %s", async (kind, place) => {
    const { base, event, nth, name, by } = place;
    const accepted: string[] = [];
    for (const type of ["application/json", "application/vnd.in-toto+json "]) {
      const one = forgery(base);
      await one.sign(one.entry(event, nth), name, documents.get(kind) ?? null, by, type);
      await fit(one, place);
      if (verdictOf(one, base) !== "INVALID") accepted.push(type);
    }
    expect(accepted).toEqual([]);
  });

  it("is no key event", async () => {
    const accepted: string[] = [];
    for (const [other, body] of documents) {
      if (other === "key-event") continue;
      const one = forgery("pipeline");
      const last = one.bundle.key_log.at(-1);
      if (last === undefined) throw new Error("no key log");
      await one.sign(last, "key_event", body, ["root", null]);
      await one.rebuild();
      if (verdictOf(one, "pipeline") === "VALID") accepted.push(other);
    }
    expect(accepted).toEqual([]);
  });
});

/** The report, but for the digests of what was changed. */
function toldOf(one: Forgery, base: Base): unknown {
  const trustRoot = worlds.get(base)?.trustRoot() ?? null;
  const { verdict, steps, authorities, subject } = verifyBundle(one.bytes(), { trustRoot });
  return { verdict, steps, authorities, subject };
}

/** The record of an approval that was given apart, with further fields, before the seal. */
function grant(one: Forgery, more: JsonObject): PlacedEntry {
  const authorized = one.entry("execution.authorized", 1);
  const { predicate } = one.statement(authorized, "approval_1") as Statement & {
    predicate: JsonObject;
  };
  const named = authorized.entry.data["envelopes"] as Record<string, string>;
  const data: JsonObject = {
    approver: predicate["approver"] ?? "",
    action_digest: predicate["action_digest"] ?? "",
    key_epoch: authorized.entry.data["key_epoch"] ?? 0,
    envelopes: { approval: named["approval_1"] ?? "" },
    given_at: authorized.entry.timestamp,
    ...more,
  };
  const placed = structuredClone(one.at(-2));
  placed.entry = { ...placed.entry, event_type: "approval.granted", data };
  one.bundle.entries.splice(-1, 0, placed);
  return placed;
}

describe("a further field of an event that may have some", { timeout: 60_000 }, () => {
  it("makes no statement about a commit of a signed approval", async () => {
    const plain = forgery("pipeline");
    const more = { predicate_type: SOURCE_SUMMARY_TYPE };
    const placed = grant(plain, more);
    await plain.rebuild();
    expect(verdictOf(plain, "pipeline")).toBe("VALID");
    const envelope = plain.envelope(placed, "approval");
    expect(verdictOf(plain, "pipeline", canonicalBytes(envelope))).toBe("INVALID");

    const own = forgery("source");
    const source = own.envelope(own.entry("attestation.issued", 2), "source");
    const before = grant(own, more);
    await own.rebuild();
    const approval = own.envelope(before, "approval");
    expect(verdictOf(own, "source", canonicalBytes(source))).toBe("VALID");
    expect(verdictOf(own, "source", canonicalBytes(approval))).toBe("INVALID");
  });

  it("makes no receipt of gates of a signed approval", async () => {
    const one = forgery("source");
    const at = one.bundle.entries.indexOf(one.entry("attestation.issued", 2));
    grant(one, { predicate_type: "urn:sovereign:attestation:gate-receipt:v1" });
    const [granted] = one.bundle.entries.splice(-2, 1);
    if (granted === undefined) throw new Error("no approval was granted");
    one.bundle.entries.splice(at, 0, granted);
    await one.rebuild();
    expect(verdictOf(one, "source")).toBe("VALID");
  });

  it("changes no verdict and no word of the report, whatever it is called", async () => {
    const known = new Set<string>();
    for (const bundle of bundles.values()) {
      for (const { entry } of bundle.entries)
        for (const one of Object.keys(entry.data)) known.add(one);
    }
    for (const base of bundles.keys()) {
      const plain = forgery(base);
      grant(plain, {});
      await plain.rebuild();
      const one = forgery(base);
      grant(one, {});
      for (const { entry } of one.bundle.entries) {
        if (!["approval.granted", "attestation.issued"].includes(entry.event_type)) continue;
        const own = ["ballot", "stage", "status", ...Object.keys(entry.data)];
        const more = [...known].filter((name) => !own.includes(name)).map((name) => [name, "x"]);
        entry.data = { ...(Object.fromEntries(more) as JsonObject), ...entry.data };
      }
      await one.rebuild();
      expect(toldOf(one, base)).toEqual(toldOf(plain, base));
    }
  });

  it("says of no run that it completed", () => {
    const one = forgery("pipeline");
    const last = one.at(-1);
    last.entry.event_type = "run.suspended";
    last.entry.data = { reason: "x", status: "completed" };
    one.rechain();
    one.remanifest();
    expect(toldOf(one, "pipeline")).toMatchObject({ subject: { run_status: null } });
  });
});

describe("the epoch of an approval that was given apart", { timeout: 60_000 }, () => {
  it.each<[string, JsonValue, string]>([
    ["its own", "own", "VALID"],
    ["before its key was enrolled", 0, "INVALID"],
    ["beyond the key log", 999, "INVALID"],
    ["none", null, "INVALID"],
  ])("is held against the key log: %s", async (_name, epoch, verdict) => {
    const one = forgery("pipeline");
    grant(one, epoch === "own" ? {} : { key_epoch: epoch });
    await one.rebuild();
    expect(verdictOf(one, "pipeline")).toBe(verdict);
  });
});
