import {
  ACTION_BYTES_MAX,
  canonicalize,
  cutText,
  type JsonObject,
  type JsonValue,
  quoted,
  SovereignError,
} from "@sovereign/core";

/** What a reference names. */
export interface Reference {
  readonly text: string;
  /** The step whose output it is; null for an input. */
  readonly step: string | null;
  /** The secret that it names: it stays what it is until the gateway puts the value in. */
  readonly secret: string | null;
  /** The way into the output, or into the inputs. */
  readonly path: readonly (string | number)[];
}

/** What references are looked up in. */
export interface Known {
  readonly inputs: JsonObject;
  /** The outputs of steps that have completed; null where none has run: references to them stay. */
  readonly outputs: ReadonlyMap<string, JsonValue> | null;
}

const NAME = "[A-Za-z_][A-Za-z0-9_-]{0,60}";
const REFERENCE = new RegExp(
  `^(?:steps\\.([a-z][a-z0-9_-]{0,60})\\.output|inputs\\.(${NAME}))((?:\\.${NAME}|\\[\\d{1,6}\\])*)$`,
);
const SECRET = /^secrets\.([A-Z][A-Z0-9_]{0,60})$/;
const OPEN = "${{";
const CLOSE = "}}";
const PATH_MAX = 32;
/** What one text may become. */
const TEXT_CHARS_MAX = 20_000;

/**
 * The references of a value, in texts at any depth. Keys hold none.
 * @throws ERR_PLAN_REFERENCE for what is none: nothing is ever evaluated
 */
export function referencesIn(value: JsonValue): Reference[] {
  if (typeof value === "string") {
    return partsOf(value).flatMap((one) => (isText(one) || one.secret !== null ? [] : [one]));
  }
  if (typeof value !== "object" || value === null) return [];
  if (!Array.isArray(value)) {
    const key = Object.keys(value).find((one) => one.includes(OPEN));
    if (key !== undefined) throw refused(key, "a key holds no reference");
  }
  return Object.values(value).flatMap((one: JsonValue) => referencesIn(one));
}

/**
 * Put what references name in their place. A text that is one reference becomes that value; within a
 * text there may be texts, numbers and truth values. What was put in is not looked at again.
 *
 * A short text can name a large value as often as it likes. So what comes of it is counted while it is
 * made, and no more is made than an action may have.
 *
 * @param stepId whose it is, for messages
 * @throws ERR_PLAN_REFERENCE where one leads to nothing, or where it all comes to too much
 */
export function resolveReferences(value: JsonValue, known: Known, stepId: string): JsonValue {
  return new Resolution(known, stepId).resolve(value);
}

class Resolution {
  readonly #known: Known;
  readonly #stepId: string;
  #left = ACTION_BYTES_MAX;

  constructor(known: Known, stepId: string) {
    this.#known = known;
    this.#stepId = stepId;
  }

  resolve(value: JsonValue): JsonValue {
    if (typeof value === "string") return this.#take(this.#resolveText(value));
    if (typeof value !== "object" || value === null) return this.#take(value);
    if (Array.isArray(value)) {
      this.#count(2);
      return value.map((one) => this.resolve(one));
    }
    this.#count(2);
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => {
        this.#count(key.length);
        return [key, this.resolve(one)];
      }),
    );
  }

  #resolveText(text: string): JsonValue {
    const parts = partsOf(text);
    const references = parts.filter((one): one is Reference => !isText(one));
    if (references.some(({ secret }) => secret !== null)) {
      // What was looked up could lead to another secret, or to a place where it can be read.
      if (references.every(({ secret }) => secret !== null)) return text;
      throw refused(text, "a text with a secret holds no other reference");
    }
    if (this.#known.outputs === null && references.some(({ step }) => step !== null)) return text;
    const [only, ...others] = parts;
    if (only !== undefined && others.length === 0 && !isText(only))
      return lookUp(only, this.#known);
    let joined = "";
    for (const part of parts) {
      joined += isText(part) ? part : scalarText(part, lookUp(part, this.#known));
      if (joined.length > TEXT_CHARS_MAX)
        throw refused(text, `a text of more than ${TEXT_CHARS_MAX} characters`);
    }
    return joined;
  }

  /** Never more than its canonical form has: what is refused here is no action in any case. */
  #take<T extends JsonValue>(value: T): T {
    if (typeof value === "string") this.#count(value.length + 2);
    else if (typeof value !== "object" || value === null) this.#count(1);
    else {
      this.#count(2);
      for (const [key, one] of Object.entries(value) as [string, JsonValue][]) {
        if (!Array.isArray(value)) this.#count(key.length);
        this.#take(one);
      }
    }
    return value;
  }

  #count(bytes: number): void {
    this.#left -= bytes;
    if (this.#left >= 0) return;
    const text = `The step ${this.#stepId} has more than ${ACTION_BYTES_MAX} bytes, counting what its references name. Refer to less of it, or pass it by digest.`;
    throw new SovereignError("ERR_PLAN_REFERENCE", text, { step: this.#stepId });
  }
}

function scalarText({ text }: Reference, value: JsonValue): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return canonicalize(value);
  const found = value === null ? "null" : Array.isArray(value) ? "a list" : "an object";
  throw refused(
    text,
    `within a text a text, a number or a truth value is expected, found ${found}`,
  );
}

/** By own keys alone: nothing that JavaScript gives every object is ever found. */
function lookUp(reference: Reference, { inputs, outputs }: Known): JsonValue {
  const { text, step, path } = reference;
  let at: JsonValue | undefined = step === null ? inputs : outputs?.get(step);
  if (at === undefined) throw refused(text, `the step ${step ?? ""} has no output`);
  for (const [depth, key] of path.entries()) {
    at = childOf(at, key);
    if (at === undefined) {
      const where = path.slice(0, depth + 1).join(".");
      throw refused(text, `there is nothing at ${where}`);
    }
  }
  return at;
}

function childOf(value: JsonValue, key: string | number): JsonValue | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (Array.isArray(value)) return typeof key === "number" ? value[key] : undefined;
  return typeof key === "string" && Object.hasOwn(value, key) ? value[key] : undefined;
}

function isText(part: string | Reference): part is string {
  return typeof part === "string";
}

/** The texts and references that a text is made of, in their order. */
function partsOf(text: string): (string | Reference)[] {
  const parts: (string | Reference)[] = [];
  let at = 0;
  for (let open = text.indexOf(OPEN); open >= 0; open = text.indexOf(OPEN, at)) {
    const close = text.indexOf(CLOSE, open);
    if (close < 0)
      throw refused(cutText(text.slice(open, open + 60), 60), `${OPEN} without ${CLOSE}`);
    if (open > at) parts.push(text.slice(at, open));
    parts.push(parseReference(text.slice(open, close + CLOSE.length)));
    at = close + CLOSE.length;
  }
  if (at < text.length || parts.length === 0) parts.push(text.slice(at));
  return parts;
}

function parseReference(text: string): Reference {
  const inner = text.slice(OPEN.length, -CLOSE.length).trim();
  const [, secret] = SECRET.exec(inner) ?? [];
  if (secret !== undefined) return { text, step: null, secret, path: [] };
  const [, step, input, rest = ""] = REFERENCE.exec(inner) ?? [];
  if (step === undefined && input === undefined) {
    throw refused(
      text,
      "expected steps.ID.output or inputs.NAME and a path of names and [number], or secrets.NAME",
    );
  }
  const path = [...rest.matchAll(/\.([^.[]+)|\[(\d+)\]/g)].map(([, name, index]) =>
    index === undefined ? (name ?? "") : Number(index),
  );
  if (path.length > PATH_MAX) throw refused(text, `a path of more than ${PATH_MAX} parts`);
  return {
    text,
    step: step ?? null,
    secret: null,
    path: input === undefined ? path : [input, ...path],
  };
}

function refused(text: string, found: string): SovereignError {
  const message = `The reference ${quoted(cutText(text, 80))}: ${found}.`;
  return new SovereignError("ERR_PLAN_REFERENCE", message, { reference: cutText(text, 200) });
}
