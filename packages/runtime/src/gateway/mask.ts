import { SovereignError } from "@sovereign/core";
import type { OpenedSecret } from "../agents/index.ts";

type Named = Pick<OpenedSecret, "name" | "value">;

/**
 * Take secrets out of what a server answers, in each form in which servers repeat what they were sent.
 *
 * @param bytes untrusted
 * @throws ERR_SKILL_FAILED for an answer that holds one in a form in which it cannot be replaced
 */
export function maskBytes(bytes: Uint8Array, secrets: readonly Named[]): Buffer {
  if (secrets.length === 0) return Buffer.from(bytes);
  return Buffer.from(maskText(Buffer.from(bytes).toString("latin1"), secrets), "latin1");
}

/** {@link maskBytes} of a text with one character for each byte. */
export function maskText(text: string, secrets: readonly Named[]): string {
  let masked = text;
  for (const { name, value } of secrets) {
    for (const form of formsOf(value)) masked = masked.replaceAll(form, `[secret ${name}]`);
  }
  const hidden = secrets.find(({ value }) => readings(masked).some((one) => one.includes(value)));
  if (hidden === undefined) return masked;
  const why = `the answer holds the secret ${hidden.name} in disguise, so nothing of it is kept`;
  throw new SovereignError("ERR_SKILL_FAILED", why);
}

/** The longest first: a shorter one may be a part of it. */
function formsOf(value: string): string[] {
  const bytes = Buffer.from(value, "latin1");
  const json = JSON.stringify(value).slice(1, -1);
  const forms = [
    value,
    json,
    json.replaceAll("/", "\\/"),
    encodeURIComponent(value),
    encodeURIComponent(value).replaceAll("%20", "+"),
    value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    Buffer.from(value, "utf16le").toString("latin1"),
    ...[0, 1, 2].flatMap((before) => base64At(bytes, before)),
  ];
  return [...new Set(forms)].sort((one, other) => other.length - one.length);
}

/** What of its base64 does not depend on what stands before and behind it. */
function base64At(bytes: Buffer, before: number): string[] {
  const padded = Buffer.concat([Buffer.alloc(before), bytes, Buffer.alloc(3)]);
  const from = before === 0 ? 0 : before + 1;
  const to = Math.floor(((before + bytes.length) * 8) / 6);
  const inner = padded.toString("base64").slice(from, to);
  return [inner, inner.replaceAll("+", "-").replaceAll("/", "_")];
}

/** What a reader makes of it: of JSON, of an address, of HTML. */
function readings(text: string): string[] {
  const unit = (code: string, base: number): string => {
    const point = Number.parseInt(code, base);
    return point < 0x110000 ? String.fromCodePoint(point) : "";
  };
  return [
    text,
    text
      .replaceAll(/\\u([0-9a-fA-F]{4})/g, (_, code: string) => unit(code, 16))
      .replaceAll(/\\(.)/g, "$1"),
    text.replaceAll(/%([0-9a-fA-F]{2})/g, (_, code: string) => unit(code, 16)),
    text
      .replaceAll(/&#x([0-9a-fA-F]{1,6});/g, (_, code: string) => unit(code, 16))
      .replaceAll(/&#(\d{1,7});/g, (_, code: string) => unit(code, 10))
      .replaceAll("&quot;", '"')
      .replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&amp;", "&"),
  ];
}
