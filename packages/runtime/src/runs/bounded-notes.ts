import {
  CallBudget,
  type EntryData,
  type JsonObject,
  REFUSALS_TOLD,
  type Severity,
} from "@sovereign/core";
import { type LedgerReader, readRun } from "../ledger/index.ts";
import { type Clock, FloodCount, Turns } from "../system/index.ts";

/** What a program in a sandbox can make happen as often as it likes, and which changed nothing. */
const FLOODS: readonly string[] = ["egress.refused", "llm.denied"];

export interface Note {
  readonly event: string;
  readonly severity: Severity;
  readonly data: JsonObject;
}

interface BoundedNotesOptions {
  readonly clock: Clock;
  readonly store: Pick<LedgerReader, "readStream">;
  readonly plan: { readonly tenantId: string; readonly runId: string };
}

interface Flood {
  readonly count: FloodCount;
  /** One counts after the other is durable, or lost: only what is durable is room that was used. */
  readonly turns: Turns;
  /** The last that was left out. */
  last: Note | null;
}

/**
 * Refusals of a run, in its ledger: the first hundred of each kind have an entry each. Of the others at
 * most one an hour has, and the last one when the run ends or waits, with the number of those between
 * (`left_out`). If the process is killed, those since the last entry are not counted anywhere.
 */
export class BoundedNotes {
  readonly #options: BoundedNotesOptions;
  readonly #record: (note: Note) => Promise<void>;
  readonly #floods = new Map<string, Promise<Flood>>();

  /** @param record durable when it resolves */
  constructor(options: BoundedNotesOptions, record: (note: Note) => Promise<void>) {
    this.#options = options;
    this.#record = record;
  }

  isBounded(event: string): boolean {
    return FLOODS.includes(event);
  }

  async note(note: Note): Promise<void> {
    const flood = await this.#floodOf(note.event);
    await flood.turns.take(async () => {
      const leftOut = flood.count.count();
      if (leftOut === null) flood.last = note;
      else
        await this.#write(note, leftOut, () => {
          flood.count.undo(leftOut);
        });
    });
  }

  /** Record how many were left out. */
  async end(): Promise<void> {
    for (const pending of this.#floods.values()) {
      const flood = await pending;
      await flood.turns.take(() => this.#rest(flood));
    }
  }

  async #rest({ count, last }: Flood): Promise<void> {
    if (last === null) return;
    const note = await this.#asOfNow(last);
    const leftOut = count.rest();
    if (leftOut === null) return;
    // The one that tells of the others was itself left out before.
    await this.#write(note, leftOut, () => {
      count.undo(leftOut + 1);
    });
  }

  #floodOf(event: string): Promise<Flood> {
    const known = this.#floods.get(event);
    if (known !== undefined) return known;
    const made = this.#open(event);
    this.#floods.set(event, made);
    // Whoever comes next tries again.
    made.catch(() => this.#floods.delete(event));
    return made;
  }

  /** Those of an earlier process count, too: else a run that is resumed again and again has no bound. */
  async #open(event: string): Promise<Flood> {
    const { clock, store, plan } = this.#options;
    let written = 0;
    for await (const { entry } of readRun(store, plan.tenantId, plan.runId))
      if (entry.event_type === event) written += 1;
    return { count: new FloodCount(clock, REFUSALS_TOLD, written), turns: new Turns(), last: null };
  }

  /** A note that was kept, as it is true now: calls have ended since, maybe those of another step. */
  async #asOfNow(note: Note): Promise<Note> {
    if (note.event !== "llm.denied") return note;
    const { store, plan } = this.#options;
    const calls = new CallBudget((note.data as EntryData<"llm.denied">).budget);
    for await (const { entry } of readRun(store, plan.tenantId, plan.runId)) calls.replay(entry);
    return { ...note, data: { ...note.data, totals: { ...calls.totals } } };
  }

  async #write(note: Note, leftOut: number, undo: () => void): Promise<void> {
    const { data } = note;
    const told = leftOut === 0 ? data : { ...data, left_out: leftOut };
    try {
      await this.#record({ ...note, data: told });
    } catch (error) {
      undo();
      throw error;
    }
  }
}
