import {
  type ComplianceBundle,
  canonicalBytes,
  canonicalize,
  digestOf,
  type Envelope,
  type JsonValue,
  parseCanonicalJson,
  STATEMENT_PAYLOAD_TYPE,
  utf8Encode,
} from "@sovereign/core";
import { parseTrustRoot, verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EntryHashes } from "../../../verify/src/entry-hashes.ts";
import { Events } from "../../../verify/src/events.ts";
import { Evidence } from "../../../verify/src/evidence.ts";
import { replayKeyLog } from "../../../verify/src/key-log.ts";
import { StepRecorder } from "../../../verify/src/step-recorder.ts";
import { EvidenceWorld } from "../support/evidence.ts";

let made: EvidenceWorld;
beforeAll(async () => {
  made = await EvidenceWorld.create();
});
afterAll(() => {
  made.dispose();
});

/** The bundle with other key ids in its envelopes, and everything that names them made to fit. */
function withKeyIds(bundle: ComplianceBundle, keyId: string): ComplianceBundle {
  let text = canonicalize(bundle as unknown as JsonValue);
  for (const [digest, envelope] of Object.entries(bundle.envelopes)) {
    const signatures = envelope.signatures.map(({ sig }) => ({ keyid: keyId, sig }));
    const changed: Envelope = { ...envelope, signatures };
    text = text
      .replaceAll(canonicalize(envelope), canonicalize(changed))
      .replaceAll(digest, digestOf(changed));
  }
  // Other digests stand in another order.
  const sorted = canonicalize(JSON.parse(text) as JsonValue);
  return parseCanonicalJson(utf8Encode(sorted)) as unknown as ComplianceBundle;
}

describe("a key id beside a signature", () => {
  it("is a hint: without it, and with another key's, the key that signed is found", async () => {
    for (const keyId of ["", "0".repeat(64), made.world.keyIdOf("checkpoint")]) {
      const bundle = withKeyIds(await made.bundle(), keyId);
      made.remake(bundle);
      const report = verifyBundle(canonicalBytes(bundle as unknown as JsonValue), {
        trustRoot: made.trustRoot(),
      });
      expect(report.steps[2]).toMatchObject({
        name: "signature_authority_map",
        status: "PASS",
        first_failure: null,
      });
    }
  });

  it("that leads nowhere is followed a bounded number of times", async () => {
    const bundle = await made.bundle();
    const step = new StepRecorder("signature_authority_map");
    const read = { hashes: new EntryHashes(), events: new Events() };
    const trust = parseTrustRoot(made.trustRoot());
    const { table: keys } = replayKeyLog(bundle, read.events, trust, step);
    const entry = bundle.entries[1]!;
    const forged = Array.from({ length: 1600 }, (_, index): Envelope => {
      const signatures = [{ keyid: "", sig: "AAAA" }];
      return { payloadType: STATEMENT_PAYLOAD_TYPE, payload: btoa(String(index)), signatures };
    });
    const digests = forged.map((envelope) => digestOf(envelope as unknown as JsonValue));
    bundle.envelopes = Object.fromEntries(forged.map((one, index) => [digests[index]!, one]));
    const evidence = new Evidence(bundle, read, keys, new Set());
    const told = digests.map((digest) => {
      try {
        evidence.open(digest, "vote", entry);
        return "opened";
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(told[0]).toMatch(/No key of the key log/);
    expect(told.at(-1)).toMatch(/Too many signatures/);
    const bounded = told.filter((message) => message.startsWith("No key")).length;
    expect(bounded * keys.windows.length).toBeLessThanOrEqual(10_000 + 4 * 1600);
  });
});
