import { type JsonValue, type LedgerEntry } from "@sovereign/core";

/**
 * What two runs of the same goal cannot have in common: names that are made anew, times, and digests that
 * are over these. Everything else that is recorded must be the same.
 */
const OWN: ReadonlySet<string> = new Set([
  // Names that are made anew.
  ...["run_id", "stream", "entry_id", "trace_id", "call", "connection", "idempotency_key"],
  // Times, and how long something took.
  ...["timestamp", "started_at", "ended_at", "wall_ms", "duration_ms"],
  // Digests over these: of the entry before, of the configuration (which names the caller), of statements.
  ...["previous_hash", "head", "config_digest", "context_digest", "envelopes", "key_log"],
  // The bytes of a vendor's answer, in which the vendor has names and times of its own.
  "answer",
]);

export interface Difference {
  /** Such as `entries[3].data.code`. */
  readonly place: string;
  readonly first: JsonValue | undefined;
  readonly second: JsonValue | undefined;
}

/** Where the records of two runs differ, besides {@link OWN}, and besides who submitted the second. */
export function differencesOf(
  first: readonly LedgerEntry[],
  second: readonly LedgerEntry[],
): Difference[] {
  const found: Difference[] = [];
  compare(plain(first), plain(second.map(withoutCaller)), "entries", found);
  return found;
}

function withoutCaller(entry: LedgerEntry): LedgerEntry {
  const { caller, ...data } = entry.data;
  const isHttp = (caller as { door?: string } | undefined)?.door === "http";
  return entry.event_type === "run.admitted" && isHttp ? { ...entry, data } : entry;
}

function plain(entries: readonly LedgerEntry[]): JsonValue {
  return structuredClone(entries) as unknown as JsonValue;
}

function compare(
  first: JsonValue | undefined,
  second: JsonValue | undefined,
  place: string,
  found: Difference[],
): void {
  if (isRecord(first) && isRecord(second)) {
    for (const key of new Set([...Object.keys(first), ...Object.keys(second)])) {
      // What only one of them has is a difference, whatever it is called.
      const isShared = Object.hasOwn(first, key) && Object.hasOwn(second, key);
      if (isShared && OWN.has(key)) continue;
      const at = Array.isArray(first) ? `${place}[${key}]` : `${place}.${key}`;
      compare(valueAt(first, key), valueAt(second, key), at, found);
    }
  } else if (first !== second) found.push({ place, first, second });
}

type Values = Readonly<Record<string, JsonValue>>;

function isRecord(value: JsonValue | undefined): value is JsonValue & object {
  return typeof value === "object" && value !== null;
}

function valueAt(value: object, key: string): JsonValue | undefined {
  return Object.hasOwn(value, key) ? (value as Values)[key] : undefined;
}
