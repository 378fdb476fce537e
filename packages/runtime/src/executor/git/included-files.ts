const ROOM = /\s+|[#;][^\n]*/y;
const HEADER = /\[[ \t]*([A-Za-z0-9.-]+)(?:[ \t]+"(?:[^"\\\n]|\\.)*")?[ \t]*\]/y;
const NAME = /([A-Za-z][A-Za-z0-9-]*)[ \t]*(=?)/y;
const LINE = /[^\n]*/y;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", b: "\b", "\n": "" };

/**
 * The files that a file of git's settings includes, as git reads it, whatever the condition of an
 * inclusion is.
 *
 * @param text untrusted; each character is one byte
 * @returns as they are named, relative to the file or to a home folder
 */
export function includedBy(text: string): string[] {
  const cursor = new Cursor(text.replace(/^\xef\xbb\xbf/, "").replaceAll("\r\n", "\n"));
  const found: string[] = [];
  let includes = false;
  while (!cursor.atEnd) {
    if (cursor.take(ROOM) !== null) continue;
    const header = cursor.take(HEADER);
    if (header !== null) {
      includes = /^include(?:if)?$/i.test(header[1] ?? "");
      continue;
    }
    const [, name = "", equals = ""] = cursor.take(NAME) ?? [];
    if (equals === "") {
      // Git gives up here; whatever else would read it is shown the rest, too.
      cursor.take(LINE);
      continue;
    }
    const value = cursor.takeValue();
    if (includes && name.toLowerCase() === "path") found.push(value);
  }
  return found.filter((value) => value !== "" && !value.includes("\0"));
}

class Cursor {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** @param form sticky */
  take(form: RegExp): RegExpExecArray | null {
    form.lastIndex = this.#at;
    const found = form.exec(this.#text);
    this.#at += found?.[0].length ?? 0;
    return found;
  }

  /** Without quotes, escapes, room on both sides and what is said of it behind `#` or `;`. */
  takeValue(): string {
    let value = "";
    let length = 0;
    let isQuoted = false;
    for (let next = this.#next(); next !== "" && next !== "\n"; next = this.#next()) {
      if (next === '"') {
        isQuoted = !isQuoted;
      } else if (isQuoted || !/[ \t\v\f\r#;]/.test(next)) {
        value += next === "\\" ? this.#escaped() : next;
        length = value.length;
      } else if (next === "#" || next === ";") {
        this.take(LINE);
      } else if (value !== "") {
        value += next;
      }
    }
    return value.slice(0, length);
  }

  #escaped(): string {
    const next = this.#next();
    return ESCAPES[next] ?? next;
  }

  #next(): string {
    const next = this.#text.charAt(this.#at);
    this.#at += 1;
    return next;
  }
}
