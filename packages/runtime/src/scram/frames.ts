import type { Socket } from "node:net";
import { canonicalBytes, type JsonValue, parseStrictJson, SovereignError } from "@sovereign/core";

/** What a frame holds: a JSON message, or bytes of standard input, output or error. */
export type FrameKind = "json" | "in" | "out" | "err";

const KINDS: readonly FrameKind[] = ["json", "in", "out", "err"];
const HEADER = 5;
const FRAME_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Messages over a local socket: four bytes of length (big endian), one of kind, the content.
 * Whoever sends anything else is cut off.
 */
export class Frames {
  readonly socket: Socket;
  readonly #bytesMax: number;
  #buffered: Buffer[] = [];
  #size = 0;
  /** So much must be there before it is looked at again. */
  #wanted = HEADER;

  /**
   * @param onFrame called in order, once for each whole frame
   * @param bytesMax the longest content that is taken
   */
  constructor(
    socket: Socket,
    onFrame: (kind: FrameKind, content: Buffer) => void,
    onGarbage: (error: Error) => void = () => undefined,
    bytesMax: number = FRAME_BYTES_MAX,
  ) {
    this.socket = socket;
    this.#bytesMax = bytesMax;
    socket.on("data", (chunk) => {
      try {
        this.#take(chunk, onFrame);
      } catch (error) {
        onGarbage(error as Error);
        socket.destroy();
      }
    });
    // The end of a connection is told by "close"; how it ended makes no difference to us.
    socket.on("error", () => undefined);
  }

  /** False when the other side should be given time: wait for "drain". */
  send(kind: FrameKind, content: Uint8Array): boolean {
    if (this.socket.destroyed || !this.socket.writable) return true;
    const header = Buffer.alloc(HEADER);
    header.writeUInt32BE(content.length);
    header.writeUInt8(KINDS.indexOf(kind), 4);
    this.socket.cork();
    this.socket.write(header);
    const more = this.socket.write(content);
    this.socket.uncork();
    return more;
  }

  sendJson(value: JsonValue): boolean {
    return this.send("json", canonicalBytes(value));
  }

  #take(chunk: Buffer, onFrame: (kind: FrameKind, content: Buffer) => void): void {
    this.#buffered.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#wanted) return;
    // Joined once for each frame: a long one comes in many pieces.
    let rest = this.#buffered.length === 1 ? chunk : Buffer.concat(this.#buffered);
    this.#wanted = HEADER;
    while (rest.length >= HEADER) {
      const length = rest.readUInt32BE(0);
      const kind = KINDS[rest.readUInt8(4)];
      if (kind === undefined || length > this.#bytesMax) throw garbage();
      this.#wanted = HEADER + length;
      if (rest.length < this.#wanted) break;
      const content = rest.subarray(HEADER, this.#wanted);
      rest = rest.subarray(this.#wanted);
      this.#wanted = HEADER;
      onFrame(kind, content);
    }
    this.#buffered = rest.length === 0 ? [] : [rest];
    this.#size = rest.length;
  }
}

/** A JSON frame's value. @throws ERR_JSON_… */
export function readFrame(content: Buffer): JsonValue {
  return parseStrictJson(content, { bytesMax: FRAME_BYTES_MAX });
}

function garbage(): SovereignError {
  return new SovereignError("ERR_FORMAT_INVALID", "Expected a frame, found other bytes.");
}
