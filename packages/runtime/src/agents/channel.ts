import type { Socket } from "node:net";
import { canonicalBytes, type JsonObject, type JsonValue, parseStrictJson } from "@sovereign/core";

/** The most that one message has, where nothing else is said. */
const LINE_BYTES_MAX = 256 * 1024;
const LF = 0x0a;

/** One JSON message a line, between a control and a proxy that it started. */
export class LineChannel {
  readonly #socket: Socket;
  readonly #bytesMax: number;
  #held: Buffer[] = [];
  #size = 0;

  /**
   * @param onMessage called in order; what it throws ends the channel
   * @param onClose called once, whatever ended it
   */
  constructor(
    socket: Socket,
    onMessage: (message: JsonValue) => void,
    onClose: (error: Error | null) => void,
    bytesMax = LINE_BYTES_MAX,
  ) {
    this.#socket = socket;
    this.#bytesMax = bytesMax;
    let why: Error | null = null;
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const line of this.#lines(chunk)) onMessage(parseStrictJson(line));
      } catch (error) {
        why = error as Error;
        socket.destroy();
      }
    });
    socket.on("error", (error) => (why ??= error));
    socket.on("close", () => {
      onClose(why);
    });
  }

  send(message: JsonObject): void {
    if (this.#socket.destroyed || !this.#socket.writable) return;
    this.#socket.cork();
    this.#socket.write(canonicalBytes(message));
    this.#socket.write("\n");
    this.#socket.uncork();
  }

  close(): void {
    this.#socket.destroy();
  }

  #lines(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      lines.push(Buffer.concat([...this.#held, chunk.subarray(from, end)]));
      this.#held = [];
      this.#size = 0;
      from = end + 1;
    }
    const rest = chunk.subarray(from);
    this.#size += rest.length;
    if (this.#size > this.#bytesMax) throw new Error("a message is too long");
    if (rest.length > 0) this.#held.push(rest);
    return lines;
  }
}
