import { isSovereignError, type JsonObject, type JsonValue } from "@sovereign/core";

/** How a document is read: it throws, or says why not. */
export interface Door {
  readonly name: string;
  readonly genuine: JsonValue;
  /** `yaml` reads JSON, too, and so the same cases; it allows a byte order mark. */
  readonly form: "json" | "yaml";
  readonly read: (bytes: Uint8Array) => unknown;
  /** The codes that it may refuse with. */
  readonly codes: readonly string[];
  /** Cases that it may take, though others refuse them. */
  readonly allows?: readonly string[];
  /** How many places are changed, spread over the document; all of them by default. */
  readonly places?: number;
}

/** A document that is bad in one way. */
interface Case {
  readonly what: string;
  readonly bytes: Uint8Array;
  /** It can mean nothing else: it has to be refused. */
  readonly isBad: boolean;
}

const text = (value: string): Uint8Array => Buffer.from(value, "utf8");

/** Marks the place of raw text in a document that is otherwise written as it is. */
const MARK = "\u241f";

function withRaw(document: JsonValue, raw: string): Uint8Array {
  return text(sorted(document).replace(`"${MARK}"`, raw));
}

/** Keys in order: so that also what must be canonical is, but for the one fault. */
function sorted(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(sorted).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${sorted(value[key]!)}`).join(",")}}`;
}

const deep = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`;

/** What is put in the place of a value; `isBad` where no format of ours can mean it. */
const RAW: readonly [what: string, raw: string, isBad: boolean][] = [
  ["null", "null", false],
  ["a boolean", "true", false],
  ["a fraction", "12.5", false],
  ["a negative number", "-1", false],
  ["a text", '"x"', false],
  ["an empty text", '""', false],
  ["a list", "[]", false],
  ["an object", "{}", false],
  ["a text of 70,000 characters", `"${"x".repeat(70_000)}"`, false],
  ["a list of 30,000", `[${"0,".repeat(29_999)}0]`, false],
  ["70 levels", deep(70), true],
  ["100,000 levels", deep(100_000), true],
  ["a number beyond what is exact", "9007199254740993", false],
  ["a number that is not finite", "1e999", true],
  ["half of a surrogate pair", '"\\ud800"', true],
  ["a control character", '"a\u0001b"', true],
  ["the key __proto__", '{"__proto__":{"polluted":true}}', false],
  ["a text that ends nowhere", '"x', true],
];

const LARGE = 10_000;

interface Place {
  readonly path: readonly (string | number)[];
  readonly value: JsonValue;
}

/** Every place of a document; of a list the first item alone. */
function placesOf(value: JsonValue, path: Place["path"] = []): Place[] {
  const here = path.length === 0 ? [] : [{ path, value }];
  if (Array.isArray(value)) {
    const [first] = value;
    return first === undefined ? here : [...here, ...placesOf(first, [...path, 0])];
  }
  if (typeof value !== "object" || value === null) return here;
  return [...here, ...Object.keys(value).flatMap((key) => placesOf(value[key]!, [...path, key]))];
}

function replaced(document: JsonValue, path: Place["path"], value: JsonValue): JsonValue {
  const copy = structuredClone(document);
  const holder = holderOf(copy, path);
  holder[path.at(-1) as string] = value;
  return copy;
}

function without(document: JsonValue, path: Place["path"]): JsonValue {
  const copy = structuredClone(document);
  const holder = holderOf(copy, path);
  if (Array.isArray(holder)) holder.splice(Number(path.at(-1)), 1);
  else Reflect.deleteProperty(holder, path.at(-1) as string);
  return copy;
}

function holderOf(document: JsonValue, path: Place["path"]): JsonObject {
  let holder = document as JsonObject;
  for (const step of path.slice(0, -1)) holder = holder[step as string] as JsonObject;
  return holder;
}

function* casesOf({ genuine, places: many, form }: Door): Generator<Case> {
  const all = placesOf(genuine);
  const step = many === undefined ? 1 : Math.max(1, all.length / many);
  for (let at = 0; at < all.length; at += step) {
    const { path, value } = all[Math.floor(at)]!;
    const place = `/${path.join("/")}`;
    yield { what: `${place}: missing`, bytes: text(sorted(without(genuine, path))), isBad: false };
    for (const [what, raw, isBad] of RAW) {
      // What is large costs time, and is judged in one way wherever it stands.
      if (raw.length > LARGE && at >= 2 * step) continue;
      yield {
        what: `${place}: ${what}`,
        bytes: withRaw(replaced(genuine, path, MARK), raw),
        isBad,
      };
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
    yield* casesOfObject(genuine, path, value, place);
  }
  yield* casesOfWhole(genuine, form);
}

function* casesOfObject(
  genuine: JsonValue,
  path: Place["path"],
  value: JsonObject,
  place: string,
): Generator<Case> {
  const body = sorted(value).slice(1);
  const tail = body === "}" ? body : `,${body}`;
  const put = (first: string): Uint8Array =>
    withRaw(replaced(genuine, path, MARK), `{${first}${tail}`);
  yield { what: `${place}: a field more`, bytes: put('"0":1'), isBad: false };
  yield { what: `${place}: __proto__ beside`, bytes: put('"__proto__":{"x":1}'), isBad: false };
  const [key] = Object.keys(value);
  if (key === undefined) return;
  const twice = put(`${JSON.stringify(key)}:${sorted(value[key]!)}`);
  yield { what: `${place}: ${key} twice`, bytes: twice, isBad: true };
}

function* casesOfWhole(genuine: JsonValue, form: Door["form"]): Generator<Case> {
  const whole = sorted(genuine);
  const bad = (what: string, bytes: Uint8Array, isBad = true): Case => ({ what, bytes, isBad });
  const swapped = Buffer.from(whole, "utf16le").swap16();
  yield bad("nothing", text(""));
  yield bad("a space", text(" "));
  yield bad("UTF-16, little end first", Buffer.from(`\ufeff${whole}`, "utf16le"));
  yield bad("UTF-16, big end first", Buffer.concat([Buffer.of(0xfe, 0xff), swapped]));
  yield bad("a byte order mark", text(`\ufeff${whole}`), form === "json");
  yield bad("an overlong letter", Buffer.concat([text('{"'), Buffer.of(0xc1, 0xa1), text('":1}')]));
  yield bad(
    "a surrogate in UTF-8",
    Buffer.concat([text('{"'), Buffer.of(0xed, 0xa0, 0x80), text('":1}')]),
  );
  yield bad("cut off", text(whole.slice(0, -1)));
  yield bad("cut in the middle", text(whole.slice(0, whole.length / 2)));
  yield bad("more behind its end", text(`${whole}{}`));
  yield bad("a zero byte behind its end", text(`${whole}\u0000`));
  for (const [what, raw] of RAW) {
    yield bad(`instead of all: ${what}`, text(raw), raw !== "{}");
  }
}

/** What says where, when the message does not name the field or what holds it. */
const PLACE =
  /character \d+|:\d+:\d+|deeper than|levels|at most \d+ bytes|canonical|UTF-8|not JSON|more than \d+ bytes|^The (hash|entry)|approvals:/;
const MESSAGE_MAX = 700;

/** What was wrong with the refusals: nothing, where a door is good. */
export async function badRefusals(door: Door): Promise<{ cases: number; problems: string[] }> {
  const problems: string[] = [];
  let cases = 0;
  for (const { what, bytes, isBad } of casesOf(door)) {
    cases += 1;
    try {
      await door.read(bytes);
      if (isBad && !(door.allows ?? []).includes(what)) problems.push(`${what}: accepted`);
    } catch (error) {
      const problem = problemOf(error, what, door);
      if (problem !== null) problems.push(`${what}: ${problem}`);
    }
    if ("polluted" in {} || "x" in {}) problems.push(`${what}: changed every object`);
  }
  return { cases, problems };
}

function problemOf(error: unknown, what: string, { codes }: Door): string | null {
  if (!isSovereignError(error)) return `threw ${String(error).slice(0, 200)}`;
  const { code, message } = error;
  if (!codes.includes(code)) return `refused with ${code}: ${message.slice(0, 200)}`;
  if (/[\n\r\u0000-\u001f\ud800-\udfff]/.test(message))
    return `not one clean line: ${JSON.stringify(message)}`;
  if (message.length > MESSAGE_MAX) return `a message of ${message.length} characters`;
  const fields = what.split(":")[0]?.split("/").slice(1) ?? [];
  const named = fields.length === 0 || fields.slice(-2).some((field) => message.includes(field));
  return named || PLACE.test(message) ? null : `says no place: ${message}`;
}
