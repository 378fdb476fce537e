/** One line is a tool's whole answer in JSON, at most. */
const LINE_BYTES_MAX = 64 * 1024 * 1024;

/** Cuts a stream of bytes into lines. A line that is too long is left out, and so is half a one. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  #held: Buffer[] = [];
  #size = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    let rest = Buffer.from(chunk);
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      this.#keep(rest.subarray(0, end));
      const line = Buffer.concat(this.#held).toString("utf8");
      this.#held = [];
      const whole = this.#size <= LINE_BYTES_MAX;
      this.#size = 0;
      if (whole && line.trim() !== "") this.#onLine(line);
      rest = rest.subarray(end + 1);
    }
    this.#keep(rest);
  }

  #keep(part: Buffer): void {
    this.#size += part.length;
    if (this.#size <= LINE_BYTES_MAX) this.#held.push(part);
    else this.#held = [];
  }
}
