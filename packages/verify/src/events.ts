import {
  ACTION_BYTES_MAX,
  canonicalSize,
  type ComplianceBundle,
  ENTRY_BYTES_MAX,
  type EntryData,
  entryData,
  type EventName,
  type JsonValue,
  type PlacedEntry,
  parseFormat,
} from "@sovereign/core";
import type { EntryHashes } from "./entry-hashes.ts";
import { type StepRecorder, wrong } from "./step-recorder.ts";

/** Events of these nouns are the ones of `entryData`, and no others. */
const OUR_NOUNS: ReadonlySet<string> = new Set(
  Object.keys(entryData).map((event) => event.split(".")[0] ?? ""),
);

/** What the entries say, each read once by the schema of its event. */
export class Events {
  readonly #data = new Map<PlacedEntry, unknown>();
  #sound = true;

  /** False where an entry is not what its event demands: then nothing that reads them all can judge. */
  get sound(): boolean {
    return this.#sound;
  }

  /** The typed data of an entry. @throws ERR_VERIFY_INVALID */
  data<K extends EventName>(placed: PlacedEntry, event: K): EntryData<K> {
    const { event_type: found, data } = placed.entry;
    if (found !== event) throw wrong(`Expected ${event}, found ${found}.`);
    const known = this.#data.get(placed);
    if (known !== undefined) return known as EntryData<K>;
    const read = parseFormat(entryData[event], data, event, "ERR_VERIFY_INVALID");
    this.#data.set(placed, read);
    return read as EntryData<K>;
  }

  /** Part of step 1: each entry has the form and the size that its event may have. */
  verify(bundle: ComplianceBundle, hashes: EntryHashes, step: StepRecorder): void {
    const last = bundle.entries.length - 1;
    for (const [at, placed] of bundle.entries.entries()) {
      const done = step.check(`entries[${at}].data`, () => {
        checkSize(hashes.size(placed));
        const { event_type: event } = placed.entry;
        if (event.startsWith("key.")) throw wrong(`${event} does not stand in a run's stream.`);
        if ((event === "run.admitted") !== (at === 0)) {
          throw wrong("run.admitted stands at the first place, and there alone.");
        }
        if (event === "run.sealed" && at !== last) throw wrong("Something follows run.sealed.");
        this.#read(placed);
        return true;
      });
      if (done === null) this.#sound = false;
    }
    for (const [at, placed] of bundle.key_log.entries()) {
      step.check(`key_log[${at}].data`, () => {
        checkSize(hashes.size(placed));
        const { event_type: event } = placed.entry;
        if (!event.startsWith("key.")) throw wrong(`${event} does not stand in the key log.`);
        this.#read(placed);
      });
    }
  }

  #read(placed: PlacedEntry): void {
    const { event_type: event, data } = placed.entry;
    if (!isKnown(event)) {
      if (OUR_NOUNS.has(event.split(".")[0] ?? "")) throw wrong(`${event} is no event.`);
      // Whose signatures nobody would verify.
      if ("envelopes" in data) throw wrong(`${event} is not known, and names envelopes.`);
      return;
    }
    this.data(placed, event);
    // Some events may have further fields, which nobody reads; signatures are always read.
    if ("envelopes" in data && !("envelopes" in entryData[event].shape)) {
      throw wrong(`${event} names no envelopes.`);
    }
    if (event === "execution.authorized" || event === "execution.denied") {
      checkBytes(this.data(placed, event).action, "The action");
    }
    if (event === "execution.completed") {
      checkBytes(this.data(placed, event).output, "The output");
    }
  }
}

function isKnown(event: string): event is EventName {
  return Object.hasOwn(entryData, event);
}

function checkSize(bytes: number): void {
  if (bytes <= ENTRY_BYTES_MAX) return;
  throw wrong(`The entry has ${bytes} bytes; at most ${ENTRY_BYTES_MAX} are recorded.`);
}

function checkBytes(value: JsonValue, what: string): void {
  const length = canonicalSize(value);
  if (length <= ACTION_BYTES_MAX) return;
  throw wrong(`${what} has ${length} bytes; at most ${ACTION_BYTES_MAX} are recorded.`);
}
