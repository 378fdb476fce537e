import { SovereignError } from "@sovereign/core";

const HUNK = /^@@ -\d{1,10}(?:,(\d{1,10}))? \+\d{1,10}(?:,(\d{1,10}))? @@/;

/** A diff line by line, each character one byte. LF alone ends a line. */
export class DiffLines {
  readonly #lines: readonly string[];
  readonly #name: string;
  #at = 0;

  /** @param bytes untrusted */
  constructor(bytes: Uint8Array, name: string) {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    const lines = text.split("\n");
    if (lines.at(-1) === "") lines.pop();
    // Where the diff's own lines end in CR LF, somebody converted all of it on its way. The first
    // of them says so: later ones may be lines of files.
    const first = lines.find((line) => /^(?:diff --git |--- )/.test(line));
    const isConverted = first?.endsWith("\r") === true;
    this.#lines = isConverted ? lines.map((line) => line.replace(/\r$/, "")) : lines;
    this.#name = name;
  }

  /** @returns null at the end */
  peek(ahead = 0): string | null {
    return this.#lines[this.#at + ahead] ?? null;
  }

  next(): string | null {
    const line = this.peek();
    this.#at += 1;
    return line;
  }

  /** The number of the next line, from 1. */
  place(): number {
    return this.#at + 1;
  }

  takeHunks(): string[] {
    const hunks: string[][] = [];
    while (this.peek()?.startsWith("@@ ") === true) hunks.push(this.#takeHunk());
    return hunks.flat();
  }

  /** A hunk with its first line: as many lines as that says. */
  #takeHunk(): string[] {
    const place = this.place();
    const first = this.next() ?? "";
    const found = HUNK.exec(first);
    if (found === null) throw this.refused("a hunk of it has no place", place);
    let [old, now] = [Number(found[1] ?? 1), Number(found[2] ?? 1)];
    const taken = [first];
    while (old > 0 || now > 0) {
      const line = this.#hunkLine(place);
      taken.push(line);
      if (/^[ -]/.test(line)) old -= 1;
      if (/^[ +]/.test(line)) now -= 1;
    }
    if (old < 0 || now < 0) throw this.refused("a hunk of it has too many lines", place);
    return [...taken, ...this.#endMarks()];
  }

  /** `\ No newline at end of file` */
  #endMarks(): string[] {
    const marks: string[] = [];
    while (this.peek()?.startsWith("\\ ") === true) marks.push(this.next() ?? "");
    return marks;
  }

  #hunkLine(place: number): string {
    const found = this.next();
    // Programs that cut spaces off line ends leave nothing of an empty line.
    const line = found === "" ? " " : (found ?? "");
    if (!/^[ +\-\\]/.test(line)) throw this.refused("a hunk of it ends too early", place);
    return line;
  }

  /** `GIT binary patch`, and one or two blocks that an empty line ends. */
  takeBinary(): string[] {
    const taken = [this.next() ?? ""];
    while (/^(?:literal|delta) \d{1,10}$/.test(this.peek() ?? "")) {
      for (let line = this.next(); ; line = this.next()) {
        taken.push(line ?? "");
        if (line === null || line === "") break;
      }
    }
    return taken;
  }

  refused(why: string, place = this.place()): SovereignError {
    return new SovereignError("ERR_REQUEST_INVALID", `${this.#name}:${place}: ${why}`);
  }
}
