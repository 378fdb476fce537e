import { cutText } from "@sovereign/core";

const BYTES_MAX = 8 * 1024 * 1024;
/** What is looked through at most: what is masked is short again. */
const LOOKED_MAX = 4 * BYTES_MAX;
const LINE_CHARS = 256 * 1024;
/** Shorter words stand in too much else. */
const SECRET_CHARS = 8;
/** A private key that is printed line by line has no more lines. */
const KEY_LINES_MAX = 200;
const MASK = "[masked]";
const KEY_BEGIN = /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----/g;
const KEY_END = /-----END [A-Z ]{0,30}PRIVATE KEY-----/;

/**
 * Keys and tokens by their form: what vendors, hosts of code and clouds give out. Each begins with a fixed
 * word, so that no line takes long; what a form has before the secret stays.
 */
const FORMS: readonly RegExp[] = [
  /()-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)/g,
  /()\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}/g,
  /()\b(?:gh[pousr]|github_pat|glpat|xox[abprs]|npm|hf|AIza|ya29)[-_.]?[A-Za-z0-9_-]{20,}/g,
  /()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /(\b(?:Bearer|Basic)\s)[A-Za-z0-9+/=._~-]{16,}/gi,
  /(:\/\/[^\s/:@"]{0,100}:)[^\s/@"]{1,200}(?=@)/g,
  // Quotes in a line of JSON have a backslash before them, and in JSON in JSON three.
  /((?:password|passwd|secret|token|api_?key|access_?key)\\{0,7}["']?\s{0,3}[:=]\s{0,3}\\{0,7}["']?)[^\s"'\\,;}]{6,200}/gi,
];
/** A token of JSON, with what makes it one: without that it is passed by whole, and looked at once. */
const TOKEN = /\beyJ[A-Za-z0-9_-]{10,}(\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?)?/g;
/** Words of which the form says nothing: they are long, and no text repeats so little. */
const WORD = /[A-Za-z0-9+/_=-]{32,}/g;
const BITS_MIN = 4.3;

/**
 * What an agent's program printed, line by line, with secrets masked. It is kept where that was asked
 * for, and bounded: what comes later is counted and not kept. Masking finds known secrets and known forms;
 * it does not find a secret that looks like text.
 */
export class Transcript {
  readonly #secrets: readonly string[];
  readonly #lines: Buffer[] = [];
  #size = 0;
  #looked = 0;
  #left = 0;
  /** How many more lines may be of a private key that has begun. */
  #keyLines = 0;
  readonly #longest: number;

  /** @param secrets what is known to be secret, whatever it looks like */
  constructor(secrets: readonly string[]) {
    const lines = secrets.flatMap((one) => [one, ...one.split(/\r?\n/)]).map((one) => one.trim());
    const long = lines.filter((one) => one.length >= SECRET_CHARS);
    const forms = [...new Set(long.flatMap(writtenForms))];
    // What holds another goes first.
    this.#secrets = forms.sort((one, other) => other.length - one.length);
    this.#longest = this.#secrets[0]?.length ?? 0;
  }

  /** @param line untrusted */
  push(line: string): void {
    this.#looked += Math.min(line.length, LINE_CHARS);
    const isFull = this.#left > 0 || this.#looked > LOOKED_MAX;
    const bytes = isFull ? null : Buffer.from(`${this.#kept(line)}\n`);
    if (bytes === null || this.#size + bytes.length > BYTES_MAX) {
      this.#left += 1;
      return;
    }
    this.#lines.push(bytes);
    this.#size += bytes.length;
  }

  bytes(): Uint8Array {
    const end =
      this.#left === 0 ? "" : `${JSON.stringify({ type: "transcript.cut", lines: this.#left })}\n`;
    return Buffer.concat([...this.#lines, Buffer.from(end)]);
  }

  /** What is kept of a line: its begin, and nothing of a secret that the cut goes through. */
  #kept(line: string): string {
    if (line.length <= LINE_CHARS) return this.#masked(line);
    const masked = this.#masked(cutText(line, LINE_CHARS));
    return masked.slice(0, Math.max(0, masked.length - this.#longest)).toWellFormed();
  }

  #masked(line: string): string {
    if (this.#keyLines > 0) {
      const end = KEY_END.exec(line);
      this.#keyLines = end === null ? this.#keyLines - 1 : 0;
      return end === null ? MASK : `${MASK}${this.#masked(line.slice(end.index + end[0].length))}`;
    }
    if (hasOpenKey(line)) this.#keyLines = KEY_LINES_MAX;
    let text = line.toWellFormed();
    for (const secret of this.#secrets) text = text.replaceAll(secret, MASK);
    text = text.replaceAll(TOKEN, (all, rest?: string) => (rest === undefined ? all : MASK));
    for (const form of FORMS) text = text.replaceAll(form, `$1${MASK}`);
    return text.replaceAll(WORD, (word) => (bitsOf(word) >= BITS_MIN ? MASK : word));
  }
}

/** True where a private key begins and does not end. */
function hasOpenKey(line: string): boolean {
  const last = [...line.matchAll(KEY_BEGIN)].at(-1);
  return last !== undefined && !line.includes("-----END ", last.index + last[0].length);
}

/** How a secret may stand in a line: as it is, in JSON, in JSON in JSON, in an address, and coded. */
function writtenForms(secret: string): string[] {
  const json = inJson(secret);
  const bytes = Buffer.from(secret);
  return [
    secret,
    json,
    inJson(json),
    inAscii(json),
    inJson(inAscii(json)),
    encodeURIComponent(secret.toWellFormed()),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    ...base64Forms(bytes),
  ];
}

function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** As programs write JSON that write no letters but those of ASCII. */
function inAscii(json: string): string {
  const unit = (one: string): string => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return json.replace(/[^\x20-\x7e]/g, unit);
}

/** What is the same of its Base64 whatever stands before and behind it, as in `user:password`. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const coded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const from = Math.ceil((before * 8) / 6);
    const to = Math.floor(((before + bytes.length) * 8) / 6);
    const own = coded.slice(from, to);
    return [own, own.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

/** Shannon's entropy of a word's letters, in bits for each. Of hexadecimal digits it is at most 4. */
function bitsOf(word: string): number {
  const counts = new Map<string, number>();
  for (const letter of word) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return [...counts.values()].reduce((bits, count) => {
    const share = count / word.length;
    return bits - share * Math.log2(share);
  }, 0);
}

const SECRET_NAME = /(?:secret|token|passw|passphrase|credential|api_?key|private_?key|_key$)/i;

/** The values of an environment that its names call secret. */
export function secretsOf(environment: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(environment).flatMap(([name, value]) =>
    value !== undefined && SECRET_NAME.test(name) ? [value] : [],
  );
}
