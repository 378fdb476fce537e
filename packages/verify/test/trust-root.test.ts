import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalBytes, parseStrictJson, type TrustRoot } from "@sovereign/core";
import { parseTrustRoot, verifyBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";

const GENUINE = join(import.meta.dirname, "../../../test/vectors/evidence/genuine");
const genuine = (): TrustRoot =>
  parseStrictJson(readFileSync(join(GENUINE, "trust-last.json"))) as unknown as TrustRoot;

type Key = TrustRoot["keys"][number];

function changed(change: (trust: TrustRoot, key: Key) => void): Uint8Array {
  const trust = genuine();
  const key = trust.keys.find((one) => one.purpose === "binding" && one.ended === null);
  change(trust, key as Key);
  return canonicalBytes(trust);
}

describe("a trust root", () => {
  it("is read as it was exported", () => {
    expect(parseTrustRoot(changed(() => undefined)).keys).toHaveLength(24);
  });

  const lies: [string, (trust: TrustRoot, key: Key) => void][] = [
    ["counts more events than it has hashes", (trust) => (trust.key_log.count += 1)],
    ["has a key twice", (trust, key) => trust.keys.push(key)],
    [
      "has a key's id with another key",
      (trust, key) => {
        const other = trust.keys.find((one) => one.purpose === "seal");
        Object.assign(key, { public_key: other?.public_key });
      },
    ],
    [
      "pins a root key that is not among its keys",
      (trust) => {
        trust.keys = trust.keys.filter((one) => one.purpose !== "root");
      },
    ],
    [
      "pins another purpose's key as a root",
      (trust, { key_id, public_key }) => {
        trust.root_keys.push({ key_id, public_key });
      },
    ],
    ["introduces a key after its log ends", (_, key) => Object.assign(key, { introduced: 99 })],
    [
      "ends a key before it begins",
      (_, key) => {
        Object.assign(key, { ended: 1, ended_by: "revoked" });
      },
    ],
    ["ends a key by nothing", (_, key) => Object.assign(key, { ended: 25 })],
    ["gives a name to a key that has none", (_, key) => Object.assign(key, { role: "x" })],
  ];
  it.each(lies)("is refused, and nothing is verified, when it %s", (_, lie) => {
    const trustRoot = changed(lie);
    const malformed = expect.objectContaining({ code: "ERR_TRUST_ROOT_MALFORMED" }) as Error;
    expect(() => parseTrustRoot(trustRoot)).toThrow(malformed);
    const bundle = readFileSync(join(GENUINE, "iron.json"));
    expect(() => verifyBundle(bundle, { trustRoot })).toThrow(malformed);
  });

  it("that has another record of a key than the bundle's log makes the bundle INVALID", () => {
    const bundle = readFileSync(join(GENUINE, "iron.json"));
    const trustRoot = changed((trust) => {
      const key = trust.keys.find((one) => one.purpose === "seal");
      Object.assign(key ?? {}, { not_after: "2030-01-01T00:00:00.000Z" });
    });
    const { verdict, steps } = verifyBundle(bundle, { trustRoot });
    expect(verdict).toBe("INVALID");
    expect(steps[2]?.first_failure).toMatchObject({ place: "trust_root" });
  });
});
