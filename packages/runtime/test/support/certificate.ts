import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";

/** DER: a tag, a length, a content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const ECDSA_SHA256 = sequence(oid("2a8648ce3d040302"));
const time = (at: Date): Buffer =>
  der(0x17, Buffer.from(`${at.toISOString().replace(/\D/g, "").slice(2, 14)}Z`));
const nameOf = (text: string): Buffer =>
  sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(text)))));
const extension = (hex: string, critical: boolean, value: Uint8Array): Buffer =>
  sequence(oid(hex), ...(critical ? [Buffer.from([0x01, 0x01, 0xff])] : []), der(0x04, value));

export interface Certified {
  readonly name: string;
  readonly key: KeyObject;
  /** As PEM. */
  readonly keyPem: string;
  readonly certPem: string;
}

/**
 * A certificate for localhost and 127.0.0.1, good for a day.
 * @param issuer who signs it; itself, as an authority, where there is none
 */
export function certify(name: string, issuer: Certified | null): Certified {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const key = createPrivateKey(keyPem);
  const day = 86_400_000;
  const now = new Date().getTime();
  const constraints = sequence(...(issuer === null ? [Buffer.from([0x01, 0x01, 0xff])] : []));
  const names = sequence(
    der(0x82, Buffer.from("localhost")),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  );
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1, ...Buffer.from(name).subarray(0, 8)])),
    ECDSA_SHA256,
    nameOf(issuer?.name ?? name),
    sequence(time(new Date(now - day)), time(new Date(now + day))),
    nameOf(name),
    createPublicKey(key).export({ type: "spki", format: "der" }),
    der(0xa3, sequence(extension("551d13", true, constraints), extension("551d11", false, names))),
  );
  const signature = sign("sha256", body, issuer?.key ?? key);
  const whole = sequence(body, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature));
  const lines = (whole.toString("base64").match(/.{1,64}/g) ?? []).join("\n");
  const certPem = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  return { name, key, keyPem, certPem };
}
