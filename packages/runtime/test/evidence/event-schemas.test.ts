import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  formatSchemas,
  type JsonObject,
  type LedgerEntry,
  parseCanonicalJson,
  parseStrictJson,
} from "@sovereign/core";
import { parseBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { schemaFaults } from "../support/event-schemas.ts";

const VECTORS = join(import.meta.dirname, "../../../../test/vectors/evidence");
const SOURCES = join(import.meta.dirname, "../../src");

/** Calls that write an entry or a line of a journal, and the event's name in each. */
const WRITES =
  /(?:\.append|\bnote|[#.]?\blog|recordLedgerEvent|\brecord)\(\s*(?:[\w.]+,\s*)*"([a-z_]+\.[a-z_]+)"/g;
const NAMES = /\b(?:event|eventType|JOINED|LOST_LINE)(?: =|:) "([a-z_]+\.[a-z_]+)"/g;
/** What commands tell people while they work, and nobody records. */
const PROGRESS =
  /^(?:backup|exec|goal|oidc|stage|step|worker)\.|^agent\.(?:faulty|started|text|tool)$|^approval\.(?:needed|given)$|^run\.(?:ended|lost|recovered|started)$|^sentinel\.(?:lost|back)$|^(?:command\.failed|keys\.enrolled|rollback\.proved)$/;

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
