import {
  canonicalBytes,
  digestOf,
  type Envelope,
  incidentChangeOf,
  fixClass,
  notMade,
  refuseDerived,
  isSovereignError,
} from "@sovereign/core";
import type { CommitItem, CommitPort, CommitVerdict, StreamHead } from "./commit.ts";
import { type ChainedEntry, createEntry, type EntryFields } from "./entry.ts";
import type { LedgerReader } from "./reader.ts";
import { Turns } from "../system/index.ts";

/** What goes into the same commit as the entry. */
export type CommitExtras = Pick<
  CommitItem,
  | "nonces"
  | "keyEpoch"
  | "fence"
  | "run"
  | "queue"
  | "step"
  | "trace"
  | "hold"
  | "settled"
  | "budget"
  | "gate"
  | "probe"
> & {
  readonly envelopes?: readonly Envelope[];
};

/** What a stream is written through, and, where it can be, looked at when an answer was lost. */
export type StreamPort = CommitPort & Partial<Pick<LedgerReader, "readStream">>;

/** What is to be appended, without its stream. */
type Fields = Omit<EntryFields, "stream">;

/** An entry that is in the stream after all. */
export interface FoundEntry {
  readonly index: number;
  /** What was given to `append`: the very object. */
  readonly fields: Fields;
}

/**
 * The one writer of a stream. It keeps the head, and writes one entry after another, so that the
 * chain has no forks; many streams write at once, and their commits are grouped below.
 */
export class StreamWriter {
  readonly #port: StreamPort;
  readonly #log: string;
  readonly #stream: string;
  #head: StreamHead;
  /** Entries of which nobody knows whether they came in, all after this head. */
  #unanswered: { readonly chained: ChainedEntry; readonly fields: Fields }[] = [];
  readonly #turns = new Turns();

  constructor(port: StreamPort, log: string, stream: string, head: StreamHead) {
    // Taken once, here: what a program does with its port later hides no entry.
    this.#port = Object.freeze<StreamPort>({
      commit: port.commit.bind(port),
      ...(port.readStream === undefined ? {} : { readStream: port.readStream.bind(port) }),
    });
    this.#log = log;
    this.#stream = stream;
    this.#head = Object.freeze({ ...head });
    refuseDerived(new.target, StreamWriter);
    Object.freeze(this);
  }

  /** @throws TypeError for what is no writer of ours: it would say what it likes of what it wrote */
  static assertMade(one: unknown): void {
    if (typeof one !== "object" || one === null || !(#turns in one))
      throw notMade("a writer of a stream");
  }

  get head(): StreamHead {
    return this.#head;
  }

  /**
   * Append the next entry; durable when it resolves with `committed`.
   * @throws ERR_STORE_UNAVAILABLE, ERR_ENTRY_TOO_LARGE
   */
  append(fields: Fields, extras: CommitExtras = {}): Promise<CommitVerdict> {
    // After a failure the next append starts from the head as it then is.
    return this.#turns.take(() => this.#appendNow(fields, extras));
  }

  /**
   * Where the stream conflicts: look whether the entry that is in its way is one of our own, whose
   * answer was lost. If so, the head is behind it from here on.
   *
   * @returns that entry; null where another writer wrote
   * @throws ERR_STORE_UNAVAILABLE
   */
  settle(): Promise<FoundEntry | null> {
    return this.#turns.take(() => this.#settleNow());
  }

  async #settleNow(): Promise<FoundEntry | null> {
    const { readStream } = this.#port;
    if (this.#unanswered.length === 0 || readStream === undefined) return null;
    for await (const { hash, index } of readStream(this.#log, this.#stream, this.#head.count)) {
      const found = this.#unanswered.find(({ chained }) => chained.hash === hash);
      if (found === undefined) return null;
      this.#head = Object.freeze(found.chained.head);
      this.#unanswered = [];
      return { index, fields: found.fields };
    }
    return null;
  }

  async #appendNow(fields: Fields, extras: CommitExtras): Promise<CommitVerdict> {
    const { envelopes, ...rest } = extras;
    const chained = createEntry(this.#head, { ...fields, stream: this.#stream });
    const incident = incidentChangeOf(chained.entry);
    const verdict = await this.#commit(chained, fields, {
      ...rest,
      ...(incident === null ? {} : { incident }),
      log: this.#log,
      stream: this.#stream,
      expectedHead: this.#head,
      entries: [{ bytes: chained.bytes, hash: chained.hash }],
      envelopes: (envelopes ?? []).map((one) => ({
        digest: digestOf(one),
        bytes: canonicalBytes(one),
      })),
    });
    if (verdict.status === "committed") {
      this.#head = Object.freeze(chained.head);
      this.#unanswered = [];
    }
    return verdict;
  }

  async #commit(chained: ChainedEntry, fields: Fields, item: CommitItem): Promise<CommitVerdict> {
    try {
      return await this.#port.commit(item);
    } catch (error) {
      if (isSovereignError(error, "ERR_STORE_UNAVAILABLE"))
        this.#unanswered.push({ chained, fields });
      throw error;
    }
  }
}

fixClass(StreamWriter);
