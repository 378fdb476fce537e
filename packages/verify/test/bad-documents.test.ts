import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type JsonObject,
  type JsonValue,
  parseEnvelope,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { parseBundle, parseTrustRoot } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { judgeLines } from "../src/audit-lines.ts";
import { badRefusals, type Door } from "./support/bad-documents.ts";

const GENUINE = join(import.meta.dirname, "../../../test/vectors/evidence/genuine");
const read = (name: string): JsonValue => parseStrictJson(readFileSync(join(GENUINE, name)));
const bundle = read("exec-rb.json") as JsonObject;
const line = (bundle["entries"] as JsonValue[])[1]!;
const envelope = Object.values(bundle["envelopes"] as JsonObject)[0]!;

function judge(bytes: Uint8Array): void {
  const { failure } = judgeLines(bytes);
  if (failure !== null)
    throw new SovereignError(failure.code as "ERR_VERIFY_INVALID", failure.message);
}

const JSON_CODES = [
  "ERR_JSON_MALFORMED",
  "ERR_JSON_TOO_DEEP",
  "ERR_JSON_DUPLICATE_KEY",
  "ERR_JSON_NOT_CANONICAL",
  "ERR_JSON_TOO_LARGE",
];
const DOORS: readonly Door[] = [
  {
    name: "bundle",
    genuine: bundle,
    form: "json",
    read: parseBundle,
    codes: ["ERR_BUNDLE_MALFORMED"],
    places: 20,
  },
  {
    name: "trust root",
    genuine: read("trust-last.json"),
    form: "json",
    read: parseTrustRoot,
    codes: ["ERR_TRUST_ROOT_MALFORMED"],
    places: 15,
  },
  {
    name: "line of an audit file",
    genuine: line,
    form: "json",
    read: judge,
    codes: [...JSON_CODES, "ERR_VERIFY_INVALID"],
    // No lines are in it: what is said of a file without lines is the audit's to say.
    allows: ["nothing"],
  },
  {
    name: "envelope",
    genuine: envelope,
    form: "json",
    read: parseEnvelope,
    codes: [...JSON_CODES, "ERR_ENVELOPE_MALFORMED"],
  },
];

describe("a document that is bad in one way", { timeout: 120_000 }, () => {
  it.each(DOORS)("is refused with its place: $name", async (door) => {
    const { cases, problems } = await badRefusals(door);
    expect(problems.slice(0, 20)).toEqual([]);
    expect(cases).toBeGreaterThan(100);
  });
});
