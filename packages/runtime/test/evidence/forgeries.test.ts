import {
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  type JsonValue,
  type PlacedEntry,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { EvidenceWorld, envelopeAt, judge } from "../support/evidence.ts";

let made: EvidenceWorld;
let trust: Uint8Array;
let bundle: ComplianceBundle;
beforeAll(async () => {
  made = await EvidenceWorld.create();
  trust = made.trustRoot();
});
afterAll(() => {
  made.dispose();
});
beforeEach(async () => {
  bundle = await made.bundle();
});

const at = (index: number): PlacedEntry => bundle.entries[index] as PlacedEntry;

describe("genuine evidence", () => {
  it("is VALID against the trust root, in all five steps", () => {
    expect(judge(bundle, trust)).toEqual({ verdict: "VALID", failures: {} });
    expect(bundle.entries.map(({ entry }) => entry.event_type)).toEqual([
      "run.admitted",
      "execution.authorized",
      "execution.completed",
      "execution.pending",
      "execution.authorized",
      "execution.completed",
      "execution.authorized",
      "execution.completed",
      "execution.authorized",
      "execution.completed",
      "attestation.issued",
      "consensus.reached",
      "run.sealed",
    ]);
  });

  it("is UNTRUSTED_KEY without a trust root, however consistent", () => {
    expect(judge(bundle, null)).toEqual({
      verdict: "UNTRUSTED_KEY",
      failures: { signature_authority_map: "trust_root" },
    });
  });

  it("is UNTRUSTED_KEY once a key that signed it is distrusted", async () => {
    const other = await EvidenceWorld.create();
    const keyId = other.world.keyIdOf("binding");
    await other.world.keyLog.revoke(other.world.keystore, keyId, "stolen", true);
    const own = await other.bundle();
    expect(judge(own, other.trustRoot()).verdict).toBe("UNTRUSTED_KEY");
    other.dispose();
  });

  it("of a compatible run proves nothing at the level sovereign", async () => {
    const loose = await EvidenceWorld.create("compatible");
    const evidence = await loose.bundle();
    expect(judge(evidence, loose.trustRoot())).toEqual({
      verdict: "INCOMPLETE",
      failures: { policy_resolution_trace: "manifest.mode" },
    });
    expect(judge(evidence, loose.trustRoot(), "compatible").verdict).toBe("VALID");
    loose.dispose();
  });
});

describe("a forgery", () => {
  it("fabricated whole with another key is UNTRUSTED_KEY", async () => {
    const forger = await EvidenceWorld.create();
    expect(judge(await forger.bundle(), trust)).toEqual({
      verdict: "UNTRUSTED_KEY",
      failures: { signature_authority_map: "trust_root" },
    });
    forger.dispose();
  });

  it("truncated is INVALID by its manifest, and INCOMPLETE when that is made to fit", () => {
    bundle.entries = bundle.entries.slice(0, 3);
    expect(judge(bundle, trust).failures["hash_chain"]).toBe("manifest.counts.entries");
    const used = new Set(
      [...bundle.entries, ...bundle.key_log].flatMap(({ entry }) =>
        Object.values((entry.data["envelopes"] ?? {}) as Record<string, string>),
      ),
    );
    bundle.envelopes = Object.fromEntries(
      Object.entries(bundle.envelopes).filter(([digest]) => used.has(digest)),
    );
    bundle.artifacts = bundle.artifacts.slice(0, 1);
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust)).toEqual({
      verdict: "INCOMPLETE",
      failures: { hash_chain: "entries" },
    });
  });

  it("edited is INVALID at the entry", () => {
    at(2).entry.data = { ...at(2).entry.data, output: "better" };
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust)).toMatchObject({
      verdict: "INVALID",
      failures: { hash_chain: "entries[2]", merkle_checkpoint: "logs.tenant" },
    });
  });

  it("edited and re-hashed is INVALID at the tree and at the seal", () => {
    at(2).entry.data = { ...at(2).entry.data, output: "better" };
    made.remake(bundle);
    const { verdict, failures } = judge(bundle, trust);
    expect(verdict).toBe("INVALID");
    expect(failures["hash_chain"]).toBeUndefined();
    expect(failures).toMatchObject({
      merkle_checkpoint: "logs.tenant",
      attestation: "entries[12]",
    });
  });

  it("re-hashed under a head signed with the stolen checkpoint key is still INVALID at the seal", async () => {
    const thief = await EvidenceWorld.create();
    const stolen = await thief.bundle();
    const edited = stolen.entries[2] as PlacedEntry;
    edited.entry.data = { ...edited.entry.data, output: "better" };
    const rows = thief.store.logs.get("acme") ?? [];
    thief.remake(stolen);
    for (const placed of stolen.entries) {
      const row = rows[placed.index];
      if (row !== undefined)
        Object.assign(row, { bytes: canonicalBytes(placed.entry), hash: placed.hash });
    }
    const { origin } = stolen.logs.tenant;
    const signer = await thief.world.authority.signer("checkpoint", null);
    thief.store.sealCheckpoint("acme", origin, signer);
    const notes = await thief.bundle().catch(() => null);
    thief.remake(stolen, { chain: false });
    stolen.logs.tenant = notes?.logs.tenant ?? stolen.logs.tenant;
    thief.remake(stolen, { chain: false });
    const { verdict, failures } = judge(stolen, thief.trustRoot());
    expect(verdict).toBe("INVALID");
    expect(failures["attestation"]).toBe("entries[12]");
    thief.dispose();
  });

  it.each([
    ["reordered", () => bundle.entries.splice(2, 2, at(3), at(2)), "entries[2]"],
    ["dropped", () => bundle.entries.splice(3, 1), "entries[3]"],
    ["duplicated", () => bundle.entries.splice(3, 0, structuredClone(at(3))), "entries[4]"],
  ])("%s is INVALID at the place", (_, forge, place) => {
    forge();
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust)).toMatchObject({
      verdict: "INVALID",
      failures: { hash_chain: place },
    });
  });

  it("with an entry of another run spliced in is INVALID there", async () => {
    const other = await made.bundle(`run_${"z".repeat(20)}`);
    bundle.entries[2] = other.entries[2] as PlacedEntry;
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust)).toMatchObject({
      verdict: "INVALID",
      failures: { hash_chain: "entries[2]" },
    });
  });

  it("with a signature swapped for another genuine one is INVALID at the envelope", () => {
    const role = envelopeAt(bundle, 1, "role").envelope;
    const binding = envelopeAt(bundle, 1, "binding").envelope;
    [role.signatures, binding.signatures] = [binding.signatures, role.signatures];
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust)).toMatchObject({
      verdict: "INVALID",
      failures: { signature_authority_map: "entries[1].envelopes.binding" },
    });
  });

  it("with the binding of another action is INVALID in the policy trace", () => {
    const data = at(1).entry.data as { envelopes: Record<string, string> };
    data.envelopes["binding"] = envelopeAt(bundle, 4, "binding").digest;
    made.remake(bundle);
    expect(judge(bundle, trust).failures["policy_resolution_trace"]).toBe("entries[1]");
  });

  it("with one approver counted twice is INVALID in the policy trace", () => {
    const data = at(4).entry.data as { envelopes: Record<string, string> };
    data.envelopes["approval_2"] = data.envelopes["approval_1"] as string;
    made.remake(bundle);
    expect(judge(bundle, trust).failures["policy_resolution_trace"]).toBe("entries[4]");
  });

  it("with a binding replayed for a later step is INVALID in the policy trace", () => {
    const again = structuredClone(at(1));
    again.index = at(3).index;
    bundle.entries[3] = again;
    made.remake(bundle);
    expect(judge(bundle, trust).failures["policy_resolution_trace"]).toBe("entries[3]");
  });

  it("with the key log rolled back to before a revocation is INVALID", () => {
    bundle.key_log = bundle.key_log.slice(0, -1);
    made.remake(bundle, { chain: false });
    const { verdict, failures } = judge(bundle, trust);
    expect(verdict).toBe("INVALID");
    expect(failures["signature_authority_map"]).toContain("entries[0]");
    expect(failures["attestation"]).toBe("entries[12]");
  });

  it("with the key log rewritten is INVALID against the trust root", () => {
    const last = bundle.key_log.at(-1) as PlacedEntry;
    last.hash = digestOf("other");
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust).failures["signature_authority_map"]).toBe("trust_root");
  });

  it("with a key used at an epoch after its end, or before its beginning, is INVALID", () => {
    for (const epoch of [0, 5, 999]) {
      at(1).entry.data = { ...at(1).entry.data, key_epoch: epoch };
      made.remake(bundle);
      expect(judge(bundle, trust).failures["signature_authority_map"]).toContain("entries[1]");
    }
  });

  it("with the checkpoint of another log, or another installation, is INVALID", () => {
    bundle.logs.tenant.checkpoint = bundle.logs.installation.checkpoint;
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust).failures["merkle_checkpoint"]).toBe("logs.tenant");
    bundle.manifest.installation_id = `ins_${"b".repeat(20)}`;
    expect(judge(bundle, trust).verdict).toBe("INVALID");
  });

  it("that claims a quorum which the votes do not give is INVALID", () => {
    at(11).entry.data = { ...at(11).entry.data, electorate: ["trainer"], quorum: 1 };
    made.remake(bundle);
    expect(judge(bundle, trust).failures["attestation"]).toBe("entries[11]");
  });

  it("that says the run succeeded when it failed is INVALID", () => {
    at(12).entry.data = { ...at(12).entry.data, status: "failed" };
    made.remake(bundle);
    expect(judge(bundle, trust).failures["attestation"]).toBe("entries[12]");
  });

  it("with envelopes or artifacts that nothing names is INVALID", () => {
    bundle.artifacts = [];
    made.remake(bundle, { chain: false });
    expect(judge(bundle, trust).failures["attestation"]).toBe("artifacts");
  });
});

describe("a failure", () => {
  const codeOf = (evidence: ComplianceBundle, root: Uint8Array | null): (string | undefined)[] => {
    const bytes = canonicalBytes(evidence as unknown as JsonValue);
    const { steps } = verifyBundle(bytes, { trustRoot: root });
    return steps.flatMap((step) => step.first_failure?.code ?? []);
  };

  it("has a code of its kind", () => {
    expect(codeOf(bundle, null)).toEqual(["ERR_VERIFY_UNTRUSTED"]);
    bundle.entries = bundle.entries.slice(0, -1);
    made.remake(bundle, { chain: false });
    expect(codeOf(bundle, trust)).toContain("ERR_VERIFY_INCOMPLETE");
    at(2).hash = digestOf("other");
    expect(codeOf(bundle, trust)).toContain("ERR_VERIFY_INVALID");
  });
});

describe("any one flipped bit", () => {
  it("of a small bundle is caught: nothing lies outside what is checked", {
    timeout: 120_000,
  }, () => {
    const bytes = canonicalBytes(bundle as unknown as JsonValue);
    const missed: number[] = [];
    // One bit of each 97th byte: all eight bits are met along the file.
    for (let index = 0; index < bytes.length; index += 97) {
      const flipped = bytes.slice();
      flipped[index] = (flipped[index] as number) ^ (1 << (index % 8));
      let verdict = "refused";
      try {
        ({ verdict } = verifyBundle(flipped, { trustRoot: trust }));
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_BUNDLE_MALFORMED" });
      }
      if (verdict === "VALID") missed.push(index);
    }
    expect(bytes.length).toBeGreaterThan(10_000);
    expect(missed).toEqual([]);
  });
});
