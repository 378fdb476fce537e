import {
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  equalBytes,
  GENESIS_HASH,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type PlacedEntry,
  sha256Hex,
} from "@sovereign/core";
import { parseBundle, verifyBundle } from "@sovereign/verify";
import { platform } from "../../../core/src/platform/node.ts";

/**
 * Most signatures of a variant are those of the bundle that it was made from: the platform is asked
 * once about each, and whatever differs in one byte of key, message or signature is asked anew.
 */
const answers = new Map<string, boolean>();
const askPlatform = platform.verifyEd25519.bind(platform);
platform.verifyEd25519 = (rawKey, message, signature) => {
  const asked = Buffer.concat([rawKey, signature, message]).toString("latin1");
  const known = answers.get(asked);
  if (known !== undefined) return known;
  const answer = askPlatform(rawKey, message, signature);
  if (answers.size >= ANSWERS_MAX) answers.clear();
  answers.set(asked, answer);
  return answer;
};
const ANSWERS_MAX = 5000;

/** Numbers from a seed, the same each time (xorshift32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761) >>> 0 || 1;
  }

  below(bound: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    this.#state >>>= 0;
    return this.#state % bound;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

/** What came of the variants. A variant that is what it was before is not counted. */
export interface Fuzzed {
  readonly variants: number;
  readonly refused: number;
  readonly verdicts: Readonly<Record<string, number>>;
  /** What the changes were, of those that should not be. */
  readonly accepted: readonly string[];
  readonly thrown: readonly string[];
  readonly slow: readonly string[];
}

/** Of this process's own time, so that a busy machine makes nothing slow. */
const SLOW_US = 5_000_000;

/** Change a bundle at random, many times, and verify what comes of it. Nobody signs again. */
export function fuzzBundle(
  genuine: Uint8Array,
  trustRoot: Uint8Array,
  { variants, seed }: { readonly variants: number; readonly seed: number },
): Fuzzed {
  // Thousands of verdicts are errors first, and nobody reads where they were thrown.
  Error.stackTraceLimit = 0;
  const bundle = parseBundle(genuine) as unknown as JsonObject;
  const original = canonicalBytes(bundle);
  const dice = new Dice(seed);
  const count = { variants: 0, refused: 0 };
  const verdicts: Record<string, number> = {};
  const [accepted, thrown, slow]: [string[], string[], string[]] = [[], [], []];
  while (count.variants < variants) {
    const variant = structuredClone(bundle);
    const done: string[] = [];
    for (let change = 1 + dice.below(2); change > 0; change--) done.push(mutate(variant, dice));
    const repaired = dice.below(4);
    if (repaired > 0) repair(variant as unknown as ComplianceBundle, repaired > 1);
    const bytes = bytesOf(variant);
    if (bytes === null || equalBytes(bytes, original)) continue;
    count.variants += 1;
    const what = `seed ${seed}, variant ${count.variants}: ${done.join("; ")}`;
    const start = process.cpuUsage();
    try {
      const { verdict } = verifyBundle(bytes, { trustRoot });
      verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
      if (verdict === "VALID" && !isSameEvidence(variant, bundle)) accepted.push(what);
    } catch (error) {
      count.refused += 1;
      if (!isSovereignError(error, "ERR_BUNDLE_MALFORMED"))
        thrown.push(`${what}: ${String(error)}`);
    }
    if (process.cpuUsage(start).user > SLOW_US) slow.push(what);
  }
  return { ...count, verdicts, accepted, thrown, slow };
}

/** The bytes of artifacts may be left out of a bundle: their digests are the evidence. */
function isSameEvidence(variant: JsonObject, genuine: JsonObject): boolean {
  const [left, right] = [variant, genuine].map((one) => {
    const { entries, key_log, envelopes } = one;
    return digestOf({ entries, key_log, envelopes } as JsonObject);
  });
  return left === right;
}

function bytesOf(value: JsonValue): Uint8Array | null {
  try {
    return canonicalBytes(value);
  } catch {
    return null;
  }
}

/** A place in the document: the container, and the key or index in it. */
interface Place {
  readonly holder: JsonObject | JsonValue[];
  readonly key: string | number;
  readonly path: string;
}

function valueAt({ holder, key }: Place): JsonValue | undefined {
  return (holder as JsonObject)[key as string];
}

/** Somewhere in the document, deeper ones as likely as those above. */
function placeIn(root: JsonObject, dice: Dice): Place {
  let place: Place = startIn(root as unknown as ComplianceBundle, dice);
  for (;;) {
    const path = `${place.path}/${place.key}`;
    const value = valueAt(place);
    const isBranch = typeof value === "object" && value !== null;
    const keys = isBranch ? Object.keys(value) : [];
    if (keys.length === 0 || dice.below(6) === 0) return { ...place, path };
    const key = dice.pick(keys);
    const holder = value as JsonObject;
    place = { holder, key: Array.isArray(holder) ? Number(key) : key, path };
  }
}

/** Mostly inside what an entry says: what breaks the document's own form is refused at once. */
function startIn(bundle: ComplianceBundle, dice: Dice): Place {
  const root = bundle as unknown as JsonObject;
  const inKeys = dice.below(5) === 0;
  const entries = root[inKeys ? "key_log" : "entries"] ?? root["lines"];
  const placed = Array.isArray(entries) && entries.length > 0 ? dice.pick(entries) : undefined;
  const data = (placed as { entry?: { data?: JsonValue } } | null | undefined)?.entry?.data;
  if (dice.below(4) === 0 || typeof data !== "object" || Object.keys(data ?? {}).length === 0) {
    return { holder: root, key: dice.pick(Object.keys(root)), path: "" };
  }
  const holder = data as JsonObject;
  return { holder, key: dice.pick(Object.keys(holder)), path: "/entry/data" };
}

type Mutation = (place: Place, root: JsonObject, dice: Dice) => void;

const ODD: readonly JsonValue[] = [
  ...[null, true, false, 0, 1, -1, 1.5, 2 ** 53, 1e21, "", "x", "__proto__", "constructor"],
  ...["0".repeat(64), "f".repeat(64), "2026-02-31T00:00:00.000Z", "\ud83d\ude00", "A===", "../x"],
  ...[[], {}, [[]], { __proto: null }],
];

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  delete: ({ holder, key }) => {
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else Reflect.deleteProperty(holder, key);
  },
  odd: (place, _root, dice) => {
    set(place, structuredClone(dice.pick(ODD)));
  },
  tweak: (place, _root, dice) => {
    const value = valueAt(place);
    if (typeof value === "number") set(place, value + dice.pick([-1, 1, 10]));
    else if (typeof value === "string") set(place, tweaked(value, dice));
    else if (typeof value === "boolean") set(place, !value);
  },
  copy: (place, root, dice) => {
    set(place, structuredClone(valueAt(placeIn(root, dice)) ?? null));
  },
  swap: (place, root, dice) => {
    const other = placeIn(root, dice);
    const [mine, theirs] = [valueAt(place) ?? null, valueAt(other) ?? null];
    set(place, structuredClone(theirs));
    set(other, structuredClone(mine));
  },
  repeat: ({ holder, key }) => {
    if (!Array.isArray(holder)) return;
    holder.splice(Number(key), 0, structuredClone(holder[Number(key)] ?? null));
  },
  add: (place, root, dice) => {
    const value = valueAt(place);
    const more = structuredClone(valueAt(placeIn(root, dice)) ?? null);
    if (Array.isArray(value)) value.push(more);
    else if (typeof value === "object" && value !== null) value[dice.pick(["x", "note"])] = more;
  },
  reorder: (place) => {
    const value = valueAt(place);
    if (Array.isArray(value)) value.reverse();
  },
};

function set({ holder, key }: Place, value: JsonValue): void {
  Object.defineProperty(holder, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

function tweaked(text: string, dice: Dice): string {
  const at = dice.below(text.length + 1);
  const letter = dice.pick(["0", "1", "a", "b", "A", "=", ".", " ", "\u0000", "\u2028"]);
  const cut = dice.below(3);
  return `${text.slice(0, at)}${cut === 0 ? "" : letter}${text.slice(at + (cut === 2 ? 0 : 1))}`;
}

/** @returns what was done, and where */
export function mutate(root: JsonObject, dice: Dice): string {
  const place = placeIn(root, dice);
  const name = dice.pick(Object.keys(MUTATIONS));
  MUTATIONS[name]?.(place, root, dice);
  return `${name} ${place.path}`;
}

/** What anybody can make fit again without a key, so that deeper checks are reached. */
function repair(bundle: ComplianceBundle, chain: boolean): void {
  try {
    if (chain) rehash(bundle.entries);
    const { entries, key_log, envelopes, artifacts, manifest } = bundle;
    manifest.counts = {
      entries: entries.length,
      key_log: key_log.length,
      envelopes: Object.keys(envelopes).length,
      artifacts: artifacts.length,
    };
    for (const name of Object.keys(manifest.sections) as (keyof typeof manifest.sections)[]) {
      manifest.sections[name] = digestOf(bundle[name] as unknown as JsonValue);
    }
  } catch {
    // It is no bundle any more: it is verified as it is.
  }
}

/** Hashes and chain made to fit, as far as the entries let themselves be written. */
export function rehash(entries: JsonValue[]): void {
  let previous = GENESIS_HASH;
  for (const [sequence, placed] of (entries as unknown as PlacedEntry[]).entries()) {
    try {
      placed.entry = { ...placed.entry, sequence, previous_hash: previous };
      placed.hash = sha256Hex(canonicalBytes(placed.entry));
      previous = placed.hash;
    } catch {
      return;
    }
  }
}
