import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  entryData,
  formatSchemas,
  type JsonObject,
  type LedgerEntry,
  parseCanonicalJson,
  parseStrictJson,
  type VerificationReport,
} from "@sovereign/core";
import { parseBundle, verifyBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { EvidenceWorld } from "../support/evidence.ts";
import { Forgery } from "../support/forger.ts";
import { schemaFaults } from "../support/event-schemas.ts";

const VECTORS = join(import.meta.dirname, "../../../../test/vectors/evidence");
const SOURCES = join(import.meta.dirname, "../../src");

/** Calls that write an entry or a line of a journal, and the event's name in each. */
const WRITES =
  /(?:\.append|\bnote|[#.]?\blog|recordLedgerEvent|\brecord)\(\s*(?:[\w.]+,\s*)*"([a-z_]+\.[a-z_]+)"/g;
const NAMES = /\b(?:event|eventType|JOINED|LOST_LINE)(?: =|:) "([a-z_]+\.[a-z_]+)"/g;
/** What commands tell people while they work, and nobody records. */
const PROGRESS =
  /^(?:archive|backup|exec|goal|oidc|stage|step|worker)\.|^agent\.(?:branch_kept|faulty|started|text|tool)$|^approval\.(?:needed|given)$|^run\.(?:ended|lost|recovered|started)$|^sentinel\.(?:lost|back)$|^(?:command\.failed|keys\.enrolled|rollback\.proved)$/;

function eventsInCode(): string[] {
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" });
  const found = files
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(SOURCES, file), "utf8"))
    .flatMap((text) => [...text.matchAll(WRITES), ...text.matchAll(NAMES)])
    .map(([, name = ""]) => name);
  return [...new Set(found)].filter((name) => !PROGRESS.test(name)).sort();
}

function entriesOf(file: string): LedgerEntry[] {
  const bytes = readFileSync(join(VECTORS, file));
  if (file.endsWith(".jsonl")) {
    const lines = bytes.toString("utf8").trim().split("\n");
    return lines.map((line) => {
      const { entry } = parseCanonicalJson(Buffer.from(line)) as unknown as { entry: LedgerEntry };
      return entry;
    });
  }
  const { entries, key_log: keyLog } = parseBundle(bytes);
  return [...entries, ...keyLog].map(({ entry }) => entry);
}

describe("the published schema of an event", () => {
  it("is there for every event that the code records", () => {
    const events = eventsInCode();
    expect(events.filter((name) => formatSchemas[`event.${name}`] === undefined)).toEqual([]);
    // So that the search itself is seen to find them, each kind of place at least once.
    for (const name of ["scram.reset", "order.refused", "llm.called", "node.joined"])
      expect(events).toContain(name);
    for (const name of ["execution.completed", "ledger.set_back", "journal.salvaged"])
      expect(events).toContain(name);
  });

  it("is held by every entry of every genuine bundle and audit file", () => {
    const index = parseStrictJson(readFileSync(join(VECTORS, "index.json"))) as JsonObject;
    const all = [index["vectors"], index["audits"]].flat() as unknown as Record<string, string>[];
    const genuine = all.filter(({ held, verdict }) => held === "genuine" && verdict === "VALID");
    const seen = new Set<string>();
    const faults = genuine.flatMap(({ file = "" }) =>
      entriesOf(file).flatMap(({ event_type: event, data }) => {
        seen.add(event);
        return schemaFaults(event, data).map((fault) => `${file}: ${fault}`);
      }),
    );
    expect(faults).toEqual([]);
    expect([...seen].sort()).toMatchInlineSnapshot(`
      [
        "attestation.issued",
        "consensus.failed",
        "consensus.reached",
        "egress.closed",
        "egress.connected",
        "evidence.recorded",
        "execution.authorized",
        "execution.completed",
        "execution.denied",
        "execution.failed",
        "execution.killed",
        "execution.pending",
        "execution.unavailable",
        "incident.raised",
        "key.introduced",
        "key.revoked",
        "key.rotated",
        "llm.called",
        "llm.reserved",
        "run.admitted",
        "run.resumed",
        "run.sealed",
        "run.suspended",
        "step.skipped",
      ]
    `);
  });
});

describe("an event that is no run's own", { timeout: 60_000 }, () => {
  it("is of the nouns that the specification lists", () => {
    const page = readFileSync(join(VECTORS, "../../../docs/spec/evidence.md"), "utf8");
    const [, list = ""] = /Events of the nouns ([^.]*?)\s+that have no\s+schema/.exec(page) ?? [];
    const listed = [...list.matchAll(/`([a-z]+)`/g)].map(([, noun]) => noun);
    const nouns = new Set(Object.keys(entryData).map((event) => event.split(".")[0]));
    expect(listed.sort()).toEqual([...nouns].sort());
  });

  it.each([
    ["budget.noted", {}],
    ["ledger.repaired", { changed: 0, findings: [] }],
    ["ledger.archived", {}],
    ["ledger.restored", {}],
    ["ledger.set_back", {}],
    ["ledger.token_issued", {}],
    ["ledger.token_revoked", {}],
  ])("makes the evidence of a run INVALID, at its place: %s", async (event, data) => {
    const report = await withEvent(event, data);
    expect(report.verdict).toBe("INVALID");
    expect(report.steps[0]?.first_failure).toMatchObject({
      place: "entries[1].data",
      message: `${event} is no event.`,
    });
  });

  it.each([
    ["run.cancel_requested", { by: "x", reason: "x" }],
    ["ledger.claim_issued", { tenant_id: "acme", generation: 1 }],
    ["incident.acknowledged", { incident_id: `inc_${"a".repeat(20)}`, by: "x" }],
  ])("decides nothing where its schema is known: %s", async (event, data) => {
    expect((await withEvent(event, data)).verdict).toBe("VALID");
  });
});

/** What is found of a run that holds such an event, by whoever has the keys of heads and seals. */
async function withEvent(event: string, data: JsonObject): Promise<VerificationReport> {
  const made = await EvidenceWorld.create();
  try {
    const keys = made.world.authority;
    const one = new Forgery(await made.bundle(), (purpose, role) => keys.signer(purpose, role));
    const noted = structuredClone(one.at(1));
    noted.entry = { ...noted.entry, event_type: event, data };
    one.bundle.entries.splice(1, 0, noted);
    await one.rebuild();
    return verifyBundle(one.bytes(), { trustRoot: made.trustRoot() });
  } finally {
    made.dispose();
  }
}
