import { utf8Decode } from "../bytes/index.ts";
import { isSovereignError, SovereignError } from "../errors/index.ts";
import type { JsonObject, JsonValue } from "../formats/common.ts";
import { canonicalize, JSON_DEPTH_MAX } from "./canonicalize.ts";

export interface JsonLimits {
  /** The most bytes, default 16 MiB. */
  readonly bytesMax?: number;
  /** The deepest nesting, default 64. */
  readonly depthMax?: number;
  /** True to take half a surrogate pair in a string, as pieces of a text have. */
  readonly loneSurrogates?: boolean;
}

const BYTES_MAX = 16 * 1024 * 1024;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;

/**
 * Parse JSON that somebody else wrote: RFC 8259 and nothing more.
 *
 * @param bytes untrusted
 * @throws ERR_JSON_TOO_LARGE, ERR_JSON_TOO_DEEP, ERR_JSON_DUPLICATE_KEY, or ERR_JSON_MALFORMED for
 *   anything else: not UTF-8, a lone surrogate, a number that is not finite, bytes after the end
 */
export function parseStrictJson(bytes: Uint8Array, limits: JsonLimits = {}): JsonValue {
  const { depthMax = JSON_DEPTH_MAX, loneSurrogates = false } = limits;
  return new Parser(decode(bytes, limits), depthMax, loneSurrogates).parse();
}

/**
 * Parse JSON that must be in its RFC 8785 canonical form, byte for byte.
 *
 * The platform's parser is used, which keeps the last of two equal keys: such input differs from
 * its own canonical form, and so is refused with everything else that has two spellings.
 *
 * @throws ERR_JSON_NOT_CANONICAL, ERR_JSON_TOO_LARGE, ERR_JSON_TOO_DEEP or ERR_JSON_MALFORMED
 */
export function parseCanonicalJson(bytes: Uint8Array, limits: JsonLimits = {}): JsonValue {
  const text = decode(bytes, limits);
  const depthMax = limits.depthMax ?? JSON_DEPTH_MAX;
  if (opensMoreThan(text, depthMax) && depthOf(text) > depthMax) throw tooDeep(depthMax);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    throw new SovereignError("ERR_JSON_MALFORMED", "The bytes are not JSON.");
  }
  if (canonicalOrNull(value) !== text) {
    throw new SovereignError(
      "ERR_JSON_NOT_CANONICAL",
      "The bytes are JSON, but not the one canonical spelling of it (RFC 8785).",
    );
  }
  return value;
}

function canonicalOrNull(value: JsonValue): string | null {
  try {
    return canonicalize(value);
  } catch (error) {
    if (isSovereignError(error, "ERR_JSON_UNSUPPORTED")) return null;
    throw error;
  }
}

function decode(bytes: Uint8Array, limits: JsonLimits): string {
  const bytesMax = limits.bytesMax ?? BYTES_MAX;
  if (bytes.length > bytesMax) {
    throw new SovereignError(
      "ERR_JSON_TOO_LARGE",
      `The JSON has ${bytes.length} bytes; at most ${bytesMax} are read.`,
      { bytes: bytes.length, bytesMax },
    );
  }
  try {
    return utf8Decode(bytes);
  } catch {
    throw new SovereignError("ERR_JSON_MALFORMED", "The bytes are not UTF-8.");
  }
}

/** Whether so many objects and arrays are opened at all: most texts open fewer, and are not looked through. */
function opensMoreThan(text: string, most: number): boolean {
  let left = most;
  for (const mark of ["{", "["]) {
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
      if (left-- === 0) return true;
    }
  }
  return false;
}

/** The nesting depth, found without recursion so that hostile input can not overflow the stack. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (inString) {
      if (unit === 0x5c) at++;
      else if (unit === 0x22) inString = false;
    } else if (unit === 0x22) inString = true;
    else if (unit === 0x5b || unit === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (unit === 0x5d || unit === 0x7d) depth--;
  }
  return deepest;
}

/** A recursive descent parser; the depth limit bounds the recursion. */
class Parser {
  readonly #text: string;
  readonly #depthMax: number;
  readonly #loneSurrogates: boolean;
  #at = 0;

  constructor(text: string, depthMax: number, loneSurrogates: boolean) {
    this.#text = text;
    this.#depthMax = depthMax;
    this.#loneSurrogates = loneSurrogates;
  }

  parse(): JsonValue {
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) throw this.#malformed("the end");
    return value;
  }

  #value(depth: number): JsonValue {
    this.#space();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): JsonObject {
    if (depth >= this.#depthMax) throw tooDeep(this.#depthMax);
    this.#at++;
    const entries = new Map<string, JsonValue>();
    this.#space();
    if (this.#take("}")) return {};
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') throw this.#malformed("a key");
      const key = this.#string();
      if (entries.has(key)) {
        throw new SovereignError(
          "ERR_JSON_DUPLICATE_KEY",
          `The key ${JSON.stringify(key)} stands twice in one object, at character ${this.#at}.`,
          { at: this.#at },
        );
      }
      this.#space();
      if (!this.#take(":")) throw this.#malformed(":");
      entries.set(key, this.#value(depth + 1));
      this.#space();
    } while (this.#take(","));
    if (!this.#take("}")) throw this.#malformed(", or }");
    // fromEntries defines own properties, so that a key such as __proto__ stays plain data.
    return Object.fromEntries(entries);
  }

  #array(depth: number): JsonValue[] {
    if (depth >= this.#depthMax) throw tooDeep(this.#depthMax);
    this.#at++;
    const items: JsonValue[] = [];
    this.#space();
    if (this.#take("]")) return items;
    do {
      items.push(this.#value(depth + 1));
      this.#space();
    } while (this.#take(","));
    if (!this.#take("]")) throw this.#malformed(", or ]");
    return items;
  }

  #string(): string {
    const start = this.#at;
    this.#at++;
    for (;;) {
      this.#match(PLAIN);
      const unit = this.#text[this.#at];
      if (unit === '"') break;
      if (unit !== "\\") throw this.#malformed("the end of a string");
      this.#at += 2;
    }
    this.#at++;
    let text: unknown;
    try {
      // The token is one string by now; the platform decodes its escapes, and refuses bad ones.
      text = JSON.parse(this.#text.slice(start, this.#at));
    } catch {
      throw this.#malformed("a well-formed escape");
    }
    if (typeof text !== "string" || !(this.#loneSurrogates || text.isWellFormed()))
      throw this.#malformed("no lone surrogate");
    return text;
  }

  #number(): number {
    const token = this.#match(NUMBER);
    const value = Number(token);
    if (token === "" || !Number.isFinite(value)) throw this.#malformed("a value");
    return value;
  }

  #word<T extends JsonValue>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#malformed("a value");
    this.#at += word.length;
    return value;
  }

  #space(): void {
    this.#match(SPACE);
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #malformed(expected: string): SovereignError {
    return new SovereignError(
      "ERR_JSON_MALFORMED",
      `Expected ${expected} at character ${this.#at}.`,
      { at: this.#at },
    );
  }
}

function tooDeep(depthMax: number): SovereignError {
  return new SovereignError("ERR_JSON_TOO_DEEP", `The JSON is nested deeper than ${depthMax}.`);
}
