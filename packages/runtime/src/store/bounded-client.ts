import { SovereignError } from "@sovereign/core";
import pg from "pg";

const MEBIBYTE = 1024 * 1024;
/** No row that this program writes has half of it, as text. */
const ROW_BYTES_MAX = 64 * MEBIBYTE;
/** A page of the largest entries has half of it. */
const ANSWER_BYTES_MAX = 256 * MEBIBYTE;
const HEADER_BYTES = 5;
const DATA_ROW = 0x44;
const READY = 0x5a;

/**
 * A connection on which rows that others wrote are read. The driver keeps a row whole, and makes text
 * of it while nothing of ours is on the stack: a row that is too large for that ended the process. Here
 * the connection ends before, and whoever asked is told.
 */
export class BoundedClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config);
    const connection = this.connection as unknown as Attaching;
    const attach = connection.attachListeners.bind(connection);
    connection.attachListeners = (stream) => {
      attach(bounded(stream));
    };
  }
}

/** What the driver's parser reads: under TLS what was decrypted. */
type Source = Pick<NodeJS.ReadableStream, "on"> & { destroy(error: Error): unknown };

interface Attaching {
  attachListeners(stream: Source): void;
}

function bounded(stream: Source): Source {
  const bound = new AnswerBound();
  const on = (event: string, listener: (chunk: Buffer) => void): unknown =>
    stream.on(event, (chunk: Buffer) => {
      if (event !== "data") {
        listener(chunk);
        return;
      }
      try {
        bound.take(chunk);
        listener(chunk);
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error("the answer cannot be read"));
      }
    });
  return { on, destroy: stream.destroy.bind(stream) } as Source;
}

/** Counts the messages of the server as their lengths come, before their bytes are kept. */
class AnswerBound {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #has = 0;
  #left = 0;
  #answer = 0;

  /** @throws ERR_LEDGER_CORRUPT */
  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      this.#header[this.#has++] = chunk[at++] as number;
      if (this.#has === HEADER_BYTES) this.#begin();
    }
  }

  #begin(): void {
    this.#has = 0;
    this.#left = Math.max(0, this.#header.readUInt32BE(1) - 4);
    if (this.#header[0] === READY) this.#answer = 0;
    if (this.#header[0] !== DATA_ROW) return;
    this.#answer += this.#left;
    if (this.#left > ROW_BYTES_MAX) throw tooLarge("a row", this.#left, ROW_BYTES_MAX);
    if (this.#answer > ANSWER_BYTES_MAX)
      throw tooLarge("an answer", this.#answer, ANSWER_BYTES_MAX);
  }
}

function tooLarge(what: string, bytes: number, most: number): SovereignError {
  const text = `The database has ${what} of ${bytes} bytes or more; at most ${most} are read.`;
  return new SovereignError("ERR_LEDGER_CORRUPT", text, { bytes });
}
