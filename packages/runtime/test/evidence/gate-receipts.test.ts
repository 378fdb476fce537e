import {
  canonicalBytes,
  digestOf,
  evaluateGates,
  formats,
  type GateReceipt,
  gateInputDigests,
  type PlacedEntry,
  parseCanonicalJson,
  parseFormat,
  predicateType,
  readGateInputs,
  sha256Hex,
} from "@sovereign/core";
import { afterEach, describe, expect, it } from "vitest";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import type { MemoryStore } from "../support/memory-store.ts";

const NAME = "01_intent/status.json";
/** A run that says it was blocked, although it ran: gate A1 fails. */
const BYTES = canonicalBytes({
  schema_version: "1.0.0",
  run_id: RUN,
  status: "BLOCKED",
  open_questions: ["q_one"],
});
const SHA = sha256Hex(BYTES);

let made: EvidenceWorld | null = null;
afterEach(() => {
  made?.dispose();
  made = null;
});

async function entriesOf(store: MemoryStore): Promise<PlacedEntry[]> {
  const entries: PlacedEntry[] = [];
  for await (const { index, hash, bytes } of store.readStream("acme", RUN)) {
    const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "entry");
    entries.push({ index, hash, entry });
  }
  return entries;
}

/** A sealed run with a receipt by the real key, over what `lie` makes of the truth. */
async function withReceipt(
  lie: (receipt: GateReceipt) => GateReceipt,
  contents = true,
): Promise<ReturnType<typeof judge>> {
  made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, { authority }, store) => {
    const media_type = "application/json";
    await session.recordEvidence([{ name: NAME, sha256: SHA, bytes: BYTES.length, media_type }]);
    const documents = new Map([[NAME, BYTES]]);
    const found = evaluateGates(readGateInputs(documents, await entriesOf(store)));
    expect(found.status).toBe("FAIL");
    const inputs = gateInputDigests(documents);
    const evaluated_at = "2026-01-01T00:00:00.000Z";
    const receipt = lie({ run_id: RUN, ...found, inputs, evaluated_at });
    const subject = [{ name: receipt.run_id, sha256: digestOf(receipt.results) }];
    const kind = "gate-receipt";
    const signed = await authority.issue(kind, subject, receipt, "attestation", null);
    await session.attest(predicateType(kind), () => Promise.resolve({ receipt: signed }));
  });
  const bundle = await made.bundle();
  for (const one of bundle.artifacts) {
    if (contents && one.name === NAME) one.content = Buffer.from(BYTES).toString("base64");
  }
  made.remake(bundle);
  return judge(bundle, made.trustRoot());
}

describe("a gate receipt", () => {
  it("verifies when it is honest, also about a gate that failed", async () => {
    const judged = await withReceipt((receipt) => receipt);
    expect(judged).toEqual({ verdict: "VALID", failures: {} });
  });

  it("stands by its signature where the bundle has no contents", async () => {
    expect((await withReceipt((receipt) => receipt, false)).verdict).toBe("VALID");
  });

  const lies: [string, (receipt: GateReceipt) => GateReceipt][] = [
    [
      "says that a gate passed which fails",
      (one) => ({
        ...one,
        status: "PASS",
        results: one.results.map((two) => ({ ...two, verdict: "pass" as const })),
      }),
    ],
    ["says PASS above a failure", (one) => ({ ...one, status: "PASS" })],
    ["leaves a gate out", (one) => ({ ...one, results: one.results.slice(1) })],
    ["leaves a document out", (one) => ({ ...one, inputs: {} })],
    ["names another document", (one) => ({ ...one, inputs: { [NAME]: "0".repeat(64) } })],
    ["is of another run", (one) => ({ ...one, run_id: `run_${"b".repeat(20)}` })],
  ];
  it.each(lies)("is found out, although rightly signed, when it %s", async (_, lie) => {
    const { verdict, failures } = await withReceipt(lie);
    expect(verdict).toBe("INVALID");
    expect(failures).toHaveProperty("attestation");
  });
});
