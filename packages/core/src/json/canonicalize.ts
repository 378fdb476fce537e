import { utf8Encode } from "../bytes/index.ts";
import { SovereignError } from "../errors/index.ts";
import type { JsonValue } from "../formats/common.ts";
import { type KeptForm, keptForm } from "./kept-form.ts";

/** How deep objects and arrays may nest. */
export const JSON_DEPTH_MAX = 64;

/**
 * The canonical form of a JSON value: RFC 8785. That of a frozen copy is written once, and kept.
 *
 * @throws ERR_JSON_UNSUPPORTED for what JSON can not hold: undefined, non-finite numbers, lone
 *   surrogates, functions, objects that are not plain
 * @throws ERR_JSON_TOO_DEEP beyond {@link JSON_DEPTH_MAX}
 * @see RFC 8785 §3.2
 */
export function canonicalize(value: JsonValue): string {
  return write(value, 0);
}

/** The UTF-8 bytes of {@link canonicalize}. */
export function canonicalBytes(value: JsonValue): Uint8Array {
  return utf8Encode(write(value, 0));
}

const ASCII = /^[\x20-\x7e]*$/;

/** How many bytes {@link canonicalBytes} has. */
export function canonicalSize(value: JsonValue): number {
  const text = write(value, 0);
  return ASCII.test(text) ? text.length : utf8Encode(text).length;
}

function write(value: unknown, depth: number): string {
  switch (typeof value) {
    case "string":
      return writeString(value);
    case "number":
      // RFC 8785 §3.2.2.3 is ECMAScript's own number format; -0 becomes 0.
      if (!Number.isFinite(value)) throw unsupported("a number that is not finite");
      return String(value);
    case "boolean":
      return value ? "true" : "false";
    case "object":
      return value === null ? "null" : writeTree(value, depth);
    default:
      throw unsupported(typeof value);
  }
}

function writeTree(value: object, depth: number): string {
  if (depth >= JSON_DEPTH_MAX) throw tooDeep();
  const form = keptForm(value);
  if (form !== undefined) return writeKept(value, form, depth);
  return Array.isArray(value) ? writeArray(value, depth) : writeObject(value, depth);
}

/** The depth that is asked about is that of the whole, of which a frozen copy may be a part. */
function writeKept(value: object, form: KeptForm, depth: number): string {
  if (form.text === null) {
    form.levels = levelsOf(value);
    form.text = Array.isArray(value) ? writeArray(value, 0) : writeObject(value, 0);
  }
  if (depth + form.levels > JSON_DEPTH_MAX) throw tooDeep();
  return form.text;
}

function levelsOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let below = 0;
  for (const one of Object.values(value)) below = Math.max(below, levelsOf(one));
  return below + 1;
}

/** Short strings of these characters need neither escapes nor a check, and are most of all. */
const PLAIN = /^[ !#-[\]-~]*$/;
const PLAIN_LENGTH_MAX = 80;

function writeString(text: string): string {
  if (text.length <= PLAIN_LENGTH_MAX && PLAIN.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw unsupported("a string with a lone surrogate");
  return JSON.stringify(text);
}

function writeArray(items: readonly unknown[], depth: number): string {
  let text = "[";
  for (let at = 0; at < items.length; at++) {
    if (at > 0) text += ",";
    text += write(items[at], depth + 1);
  }
  return `${text}]`;
}

function writeObject(object: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null)
    throw unsupported("an object of a class");
  const keys = Object.keys(object);
  // The default sort compares UTF-16 code units, which is what RFC 8785 §3.2.3 asks for.
  if (!isSorted(keys)) keys.sort();
  let text = "{";
  for (let at = 0; at < keys.length; at++) {
    const key = keys[at] as string;
    if (at > 0) text += ",";
    text += `${writeString(key)}:${write((object as Record<string, unknown>)[key], depth + 1)}`;
  }
  return `${text}}`;
}

/** What was read from canonical JSON mostly is, and to see that is cheaper than to sort. */
function isSorted(keys: readonly string[]): boolean {
  for (let at = 1; at < keys.length; at++) {
    if ((keys[at - 1] as string) > (keys[at] as string)) return false;
  }
  return true;
}

function tooDeep(): SovereignError {
  return new SovereignError("ERR_JSON_TOO_DEEP", `Nested deeper than ${JSON_DEPTH_MAX}.`);
}

function unsupported(what: string): SovereignError {
  return new SovereignError("ERR_JSON_UNSUPPORTED", `JSON can not hold ${what}.`);
}
