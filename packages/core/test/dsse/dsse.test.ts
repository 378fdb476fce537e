import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import {
  base64Decode,
  base64Encode,
  createStatement,
  canonicalBytes,
  pae,
  parseEnvelope,
  parsePublicKey,
  parseStatement,
  predicateType,
  type Signer,
  signEnvelope,
  utf8Decode,
  utf8Encode,
  verifyEnvelope,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";

function newSigner(): Signer {
  const { privateKey } = generateKeyPairSync("ed25519");
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return { publicKey: parsePublicKey(spki), sign: (message) => sign(null, message, privateKey) };
}

const code = (code: string): unknown => expect.objectContaining({ code });
const TYPE = "application/vnd.in-toto+json";
const [alice, bob] = [newSigner(), newSigner()];
const body = utf8Encode("body");

describe("DSSE", () => {
  it("encodes as the protocol's example does", () => {
    const encoded = pae("http://example.com/HelloWorld", utf8Encode("hello world"));
    expect(utf8Decode(encoded)).toBe("DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    expect(utf8Decode(pae("é", utf8Encode("ü")))).toBe("DSSEv1 2 é 2 ü");
  });

  it("counts distinct keys: a signature twice, or a key under two names, is one", () => {
    const envelope = signEnvelope(TYPE, body, [alice, alice]);
    const named = { ...envelope.signatures[1], keyid: bob.publicKey.keyId } as never;
    const twice = { ...envelope, signatures: [envelope.signatures[0] as never, named] };
    const keys = [alice.publicKey, alice.publicKey, bob.publicKey];
    expect(verifyEnvelope(twice, keys).signers).toHaveLength(1);
    expect(() => verifyEnvelope(twice, keys, 2)).toThrow(code("ERR_ENVELOPE_SIGNATURE"));
    const both = signEnvelope(TYPE, body, [alice, bob]);
    expect(verifyEnvelope(both, keys, 2).signers).toHaveLength(2);
  });

  it("does not count a signature whose S was malleated", () => {
    const envelope = signEnvelope(TYPE, body, [alice]);
    const signature = base64Decode(envelope.signatures[0]?.sig ?? "");
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    let s = 0n;
    for (let at = 63; at >= 32; at--) s = (s << 8n) | BigInt(signature[at] ?? 0);
    s += order;
    for (let at = 32; at < 64; at++) {
      signature[at] = Number(s & 255n);
      s >>= 8n;
    }
    const malleated = { keyid: alice.publicKey.keyId, sig: base64Encode(signature) };
    const forged = { ...envelope, signatures: [malleated] };
    expect(() => verifyEnvelope(forged, [alice.publicKey])).toThrow(code("ERR_ENVELOPE_SIGNATURE"));
  });

  it("does not believe keyid, the type or the payload", () => {
    const envelope = signEnvelope(TYPE, body, [alice]);
    const { signatures } = envelope;
    const claimed = signatures.map((one) => ({ ...one, keyid: bob.publicKey.keyId }));
    expect(() => verifyEnvelope({ ...envelope, signatures: claimed }, [bob.publicKey])).toThrow(
      code("ERR_ENVELOPE_SIGNATURE"),
    );
    expect(verifyEnvelope({ ...envelope, signatures: claimed }, [alice.publicKey])).toBeDefined();
    const retyped = { ...envelope, payloadType: "text/plain" };
    const changed = { ...envelope, payload: base64Encode(utf8Encode("x")) };
    const keys = [alice.publicKey];
    expect(() => verifyEnvelope(retyped, keys, 1, "text/plain")).toThrow(
      code("ERR_ENVELOPE_SIGNATURE"),
    );
    expect(() => verifyEnvelope(changed, keys)).toThrow(code("ERR_ENVELOPE_SIGNATURE"));
  });

  it("refuses what is rightly signed as something else than a statement", () => {
    const envelope = signEnvelope("application/json", body, [alice]);
    expect(() => verifyEnvelope(envelope, [alice.publicKey])).toThrow(
      code("ERR_ENVELOPE_MALFORMED"),
    );
    expect(verifyEnvelope(envelope, [alice.publicKey], 1, "application/json").body).toEqual(body);
  });

  it("reads each field once: what a getter answers the next time was not signed", () => {
    const other = signEnvelope("application/json", body, [alice]);
    const changing = (first: unknown, then: unknown): PropertyDescriptor => {
      let reads = 0;
      return { enumerable: true, get: () => (reads++ === 0 ? first : then) };
    };
    const retyped = Object.defineProperty(
      { ...other },
      "payloadType",
      changing(TYPE, "application/json"),
    );
    expect(() => verifyEnvelope(retyped, [alice.publicKey])).toThrow(
      code("ERR_ENVELOPE_SIGNATURE"),
    );
  });

  it("gives nobody the power to put another key in a key's place", () => {
    const { publicKey } = newSigner();
    publicKey.raw.fill(0);
    publicKey.spki.fill(0);
    expect(() => Object.assign(publicKey, { raw: alice.publicKey.raw })).toThrow(TypeError);
    const forged = signEnvelope(TYPE, body, [alice]);
    expect(() => verifyEnvelope(forged, [publicKey])).toThrow(code("ERR_ENVELOPE_SIGNATURE"));
    expect(parsePublicKey(publicKey.raw).keyId).toBe(publicKey.keyId);
  });

  it("refuses what is no envelope", () => {
    for (const bad of [{}, { payloadType: TYPE, payload: "", signatures: [] }, []]) {
      expect(() => parseEnvelope(bad)).toThrow(code("ERR_ENVELOPE_MALFORMED"));
    }
    const envelope = { ...signEnvelope(TYPE, body, [alice]), payload: "%%%" };
    expect(() => verifyEnvelope(envelope, [alice.publicKey])).toThrow(
      code("ERR_ENVELOPE_MALFORMED"),
    );
  });

  it("reads a statement of its own type in canonical form alone", () => {
    const subject = [{ name: "x", digest: { sha256: "0".repeat(64) } }];
    const vote = createStatement(subject, predicateType("vote"), {});
    const bytes = canonicalBytes(vote);
    expect(() => parseStatement(bytes, "approval")).toThrow(code("ERR_STATEMENT_MALFORMED"));
    expect(() => parseStatement(bytes, "vote")).toThrow(code("ERR_STATEMENT_MALFORMED"));
    const spaced = utf8Encode(JSON.stringify(vote, null, 1));
    expect(() => parseStatement(spaced, "vote")).toThrow(code("ERR_STATEMENT_MALFORMED"));
  });
});

describe("public keys", () => {
  // The y of the eight points of small order, with either sign of x.
  it.each([
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ])("of small order or not reduced are refused: %s", (hex) => {
    for (const sign of [0, 0x80]) {
      const raw = Buffer.from(hex, "hex");
      raw[31] = (raw[31] as number) | sign;
      expect(() => parsePublicKey(raw)).toThrow(code("ERR_KEY_MALFORMED"));
    }
  });

  it("of another length or algorithm are refused", () => {
    expect(() => parsePublicKey(new Uint8Array(31))).toThrow(code("ERR_KEY_MALFORMED"));
    expect(() => parsePublicKey(new Uint8Array(44))).toThrow(code("ERR_KEY_MALFORMED"));
  });
});
