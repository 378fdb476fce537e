import { editList, parseFormat, parseStrictJson, quoted, SovereignError } from "@sovereign/core";

/**
 * Replace text in a file, edit after edit. A text that stands there more or less often than the edit
 * says does not fit: nobody would know which place was meant.
 *
 * @param before the file
 * @param edits the operation's content; untrusted but for its digest
 * @throws ERR_CHANGE_MISFIT with the line that comes nearest
 */
export function editText(path: string, before: Uint8Array, edits: Uint8Array): Uint8Array {
  const list = parseFormat(editList, parseStrictJson(edits), "edits");
  let text = Buffer.from(before).toString("utf8");
  if (!Buffer.from(text, "utf8").equals(before)) throw misfit(path, "it is not UTF-8 text");
  for (const [index, { search, replace, count }] of list.entries()) {
    const parts = text.split(search);
    const found = parts.length - 1;
    if (found !== count) {
      const which = list.length === 1 ? "the text" : `the text of edit ${index + 1}`;
      const times = count === 1 ? "once" : `${count} times`;
      const why = found === 0 ? nearest(text, search) : places(parts, search);
      throw misfit(path, `expected ${which} ${times}, found it ${found} times${why}`);
    }
    text = parts.join(replace);
  }
  return Buffer.from(text, "utf8");
}

const PLACES_MAX = 5;

function places(parts: readonly string[], search: string): string {
  const lines: number[] = [];
  let line = 1;
  for (const part of parts.slice(0, PLACES_MAX)) {
    line += part.split("\n").length - 1;
    lines.push(line);
    line += search.split("\n").length - 1;
  }
  const at = lines.slice(0, Math.min(PLACES_MAX, parts.length - 1)).join(", ");
  return ` (lines ${at}). Search for more of the lines around it, or say its count`;
}

const LINES_MAX = 20_000;
const LINE_CHARS = 300;

/** What is there instead of what is searched for. */
function nearest(text: string, search: string): string {
  const isCrLf = text.includes("\r\n");
  if (!isCrLf && search.includes("\r\n")) return ": the file's lines end in LF alone";
  if (isCrLf && /[^\r]\n/.test(search)) return ": the file's lines end in CR LF";
  const wanted = search.split("\n").filter((line) => line.trim() !== "");
  const [first = ""] = wanted;
  const best = mostAlike(text.split("\n").slice(0, LINES_MAX), first);
  if (best === null) return "";
  const { number, line } = best;
  // Its first line may be there, and what follows it be otherwise.
  if (wanted.length > 1 && line.includes(first.trim())) {
    return `. Its first line is line ${number}; what follows is otherwise there`;
  }
  const isSame = bare(line).includes(bare(first)) && !line.includes(first);
  const spaces = isSame && wanted.length === 1 ? ", but for its spaces" : "";
  return `. The nearest is line ${number}${spaces}: ${quoted(line.slice(0, LINE_CHARS))}`;
}

/** The line that has most words in common with another; null where none has many. */
function mostAlike(
  lines: readonly string[],
  wanted: string,
): { number: number; line: string } | null {
  const words = new Set(wordsOf(wanted));
  let best = { number: 0, line: "", score: SCORE_MIN };
  for (const [index, line] of lines.entries()) {
    const there = new Set(wordsOf(line));
    const common = [...words].filter((word) => there.has(word)).length;
    const score = (2 * common) / (words.size + there.size || 1);
    if (score > best.score) best = { number: index + 1, line, score };
  }
  return best.number === 0 ? null : best;
}

/** Of 1. */
const SCORE_MIN = 0.4;

function bare(line: string): string {
  return line.replaceAll(/\s+/g, "");
}

function wordsOf(line: string): string[] {
  return line
    .slice(0, LINE_CHARS)
    .split(/[^\p{L}\p{N}_]+/u)
    .filter((word) => word !== "");
}

function misfit(path: string, why: string): SovereignError {
  const text = `The edit does not fit ${quoted(path)}: ${why}.`;
  return new SovereignError("ERR_CHANGE_MISFIT", text, { path: path.slice(0, 200) });
}
