import {
  canonicalBytes,
  digestOf,
  type Envelope,
  incidentChangeOf,
  fixClass,
} from "@sovereign/core";
import type { CommitItem, CommitPort, CommitVerdict, StreamHead } from "./commit.ts";
import { createEntry, type EntryFields } from "./entry.ts";
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

/**
 * The one writer of a stream. It keeps the head, and writes one entry after another, so that the
 * chain has no forks; many streams write at once, and their commits are grouped below.
 */
export class StreamWriter {
  readonly #commit: CommitPort["commit"];
  readonly #log: string;
  readonly #stream: string;
  #head: StreamHead;
  readonly #turns = new Turns();

  constructor(port: CommitPort, log: string, stream: string, head: StreamHead) {
    // Taken once, here: what a program does with its port later hides no entry.
    this.#commit = port.commit.bind(port);
    this.#log = log;
    this.#stream = stream;
    this.#head = Object.freeze({ ...head });
    Object.freeze(this);
  }

  get head(): StreamHead {
    return this.#head;
  }

  /**
   * Append the next entry; durable when it resolves with `committed`.
   * @throws ERR_STORE_UNAVAILABLE, ERR_ENTRY_TOO_LARGE
   */
  append(fields: Omit<EntryFields, "stream">, extras: CommitExtras = {}): Promise<CommitVerdict> {
    // After a failure the next append starts from the head as it then is.
    return this.#turns.take(() => this.#appendNow(fields, extras));
  }

  async #appendNow(
    fields: Omit<EntryFields, "stream">,
    extras: CommitExtras,
  ): Promise<CommitVerdict> {
    const { envelopes, ...rest } = extras;
    const chained = createEntry(this.#head, { ...fields, stream: this.#stream });
    const incident = incidentChangeOf(chained.entry);
    const verdict = await this.#commit({
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
    if (verdict.status === "committed") this.#head = Object.freeze(chained.head);
    return verdict;
  }
}

fixClass(StreamWriter);
