import { SovereignError } from "@sovereign/core";
import { latin1 } from "./git-file.ts";

/** A patch that is none, or is not one of ours. */
export function patchProblem(why: string): SovereignError {
  return new SovereignError("ERR_VERIFY_INVALID", `The patch cannot be read: ${why}.`);
}

/** A patch line by line. LF alone ends a line. */
export class PatchLines {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The next line without its end, each character one byte; null at the end. */
  peek(): string | null {
    if (this.#at >= this.#bytes.length) return null;
    const line = this.#bytes.subarray(this.#at, this.#end());
    return latin1(line.at(-1) === LF ? line.subarray(0, -1) : line);
  }

  next(): string | null {
    const line = this.peek();
    this.#at = this.#end();
    return line;
  }

  /** The next line with its end. */
  nextBytes(): Uint8Array | null {
    if (this.#at >= this.#bytes.length) return null;
    const line = this.#bytes.subarray(this.#at, this.#end());
    this.#at += line.length;
    return line;
  }

  /** `\ No newline at end of file`, which is about the line before it. */
  takeEndMark(): boolean {
    if (this.#bytes[this.#at] !== BACKSLASH) return false;
    this.#at = this.#end();
    return true;
  }

  #end(): number {
    const end = this.#bytes.indexOf(LF, this.#at);
    return end < 0 ? this.#bytes.length : end + 1;
  }
}

const LF = 0x0a;
const BACKSLASH = 0x5c;
