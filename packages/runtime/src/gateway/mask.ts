import { SovereignError } from "@sovereign/core";
import type { OpenedSecret } from "../agents/index.ts";

const QUOTED_CHARS_MAX = 300;

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
  const hidden = hiddenIn(masked, secrets);
  if (hidden === undefined) return masked;
  const why = `the answer holds the secret ${hidden.name} in disguise, so nothing of it is kept`;
  throw new SovereignError("ERR_SKILL_FAILED", why);
}

/** What of a server's words is told. They are cut last: a part of a secret is not known for one. */
export function quotable(text: string, secrets: readonly Named[]): string {
  const masked = maskBytes(Buffer.from(text), secrets).toString();
  return masked.replaceAll(/[^\x20-\x7e]/g, " ").slice(0, QUOTED_CHARS_MAX);
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
    ...base64Of(bytes),
    ...base64Of(bytes).map((one) => one.replaceAll("+", "-").replaceAll("/", "_")),
  ];
  return [...new Set(forms)].sort((one, other) => other.length - one.length);
}

/** Its base64 after none, one and two other bytes: what does not depend on what stands around it. */
function base64Of(bytes: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes, Buffer.alloc(3)]);
    const from = before === 0 ? 0 : before + 1;
    const to = Math.floor(((before + bytes.length) * 8) / 6);
    return padded.toString("base64").slice(from, to);
  });
}

/** Three escapes of one another, and what a secret itself looks like. */
const LEVELS = 6;
/** Of a secret of spaces and quotes nothing is left that could be told from anything. */
const BARE_MIN = 6;

/**
 * Looks through each level of escapes once: as often as there are levels, whatever the text is. Once
 * more without the escapes of mail, for which the beginning of a value after `key=` could be one.
 */
function hiddenIn<T extends Named>(text: string, secrets: readonly T[]): T | undefined {
  for (const escape of [ESCAPE, ESCAPE_OF_MAIL]) {
    let read = text;
    for (let level = 0; level <= LEVELS; level++) {
      const views = { read, bare: bare(read), hex: hexOf(read), base64: base64In(read) };
      const found = secrets.find(({ value }) => isIn(views, value, escape));
      if (found !== undefined) return found;
      const next = unescaped(read, escape);
      if (next === read) break;
      read = next;
    }
  }
  return undefined;
}

function isIn(
  views: Readonly<Record<"read" | "bare" | "hex" | "base64", string>>,
  value: string,
  escape: RegExp,
): boolean {
  const bytes = Buffer.from(value, "latin1");
  return (
    views.read.includes(value) ||
    barely(value, escape).some((form) => views.bare.includes(form)) ||
    views.hex.includes(bytes.toString("hex")) ||
    base64Of(bytes).some((one) => views.base64.includes(one))
  );
}

/** Also as it is read itself: what looks like an escape in a secret is taken for one. */
function barely(value: string, escape: RegExp): string[] {
  const forms = [value];
  for (let level = 0; level < LEVELS; level++) forms.push(unescaped(forms.at(-1) ?? "", escape));
  return forms.map(bare).filter(({ length }) => length >= BARE_MIN);
}

/** Without what quoting doubles, encoding widens, and writing wraps. */
function bare(text: string): string {
  return text.replaceAll(/[^\x21-\x7e]|[\\'"+]/g, "");
}

function hexOf(text: string): string {
  return text.toLowerCase().replaceAll(/0x|[^0-9a-f]/g, "");
}

function base64In(text: string): string {
  return text
    .replaceAll(/[^A-Za-z0-9+/_-]/g, "")
    .replaceAll("-", "+")
    .replaceAll("_", "/");
}

/** Of JSON and program text, of addresses, of HTML, and of mail (quoted-printable). */
const ESCAPES = [
  [/\\u([0-9a-fA-F]{4})/, 16],
  [/\\u\{([0-9a-fA-F]{1,6})\}/, 16],
  [/\\U([0-9a-fA-F]{8})/, 16],
  [/\\x([0-9a-fA-F]{2})/, 16],
  [/\\([0-3]?[0-7]{1,2})/, 8],
  [/%u([0-9a-fA-F]{4})/, 16],
  [/%([0-9a-fA-F]{2})/, 16],
  [/&#[xX]([0-9a-fA-F]{1,6});?/, 16],
  [/&#([0-9]{1,7});?/, 10],
] as const;
const ONE = [...ESCAPES.map(([{ source }]) => source), "&([a-zA-Z]{2,8});", String.raw`\\(.)`];
const ESCAPE = new RegExp(ONE.join("|"), "g");
const ESCAPE_OF_MAIL = new RegExp([...ONE, "=([0-9a-fA-F]{2})"].join("|"), "g");

/** One level of escapes less, all kinds in one pass. */
function unescaped(text: string, escape: RegExp): string {
  // A line of mail is wrapped wherever it is too long, within what was escaped before, too.
  const whole = escape === ESCAPE ? text : text.replaceAll(/=\r?\n/g, "");
  return whole.replaceAll(escape, (all: string, ...groups: (string | undefined)[]) => {
    const at = groups.findIndex((one) => one !== undefined);
    const found = groups[at] ?? "";
    const [, base] = ESCAPES[at] ?? [];
    if (base !== undefined) return character(Number.parseInt(found, base));
    if (all.startsWith("&")) return NAMED[found.toLowerCase()] ?? all;
    if (all.startsWith("=")) return character(Number.parseInt(found, 16));
    return CONTROLS[found] ?? found;
  });
}

const CONTROLS: Readonly<Record<string, string>> = {
  ...{ b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" },
};

function character(point: number): string {
  return point < 0x110000 ? String.fromCodePoint(point) : "";
}

/** What HTML calls the printable characters of ASCII that have a name. */
const NAMED: Readonly<Record<string, string>> = Object.fromEntries(
  [
    "quot\" amp& apos' lt< gt> excl! num# dollar$ percnt% lpar( rpar) ast* midast* plus+ comma,",
    "period. sol/ colon: semi; equals= quest? commat@ lsqb[ lbrack[ bsol\\ rsqb] rbrack] hat^ lowbar_",
    "underbar_ grave` lcub{ lbrace{ verbar| vert| rcub} rbrace}",
  ]
    .join(" ")
    .split(" ")
    .map((one) => [one.slice(0, -1), one.slice(-1)]),
);
