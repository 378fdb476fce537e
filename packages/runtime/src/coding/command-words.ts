import { SovereignError } from "@sovereign/core";

const WORD = /'([^']*)'|"([^"]*)"|([^\s'"]+)/gy;

/**
 * The words of a command line. Quotes keep words together, and nothing else means anything: there is
 * no shell, so that no variable, no pattern and no second command is in it.
 *
 * @throws ERR_REQUEST_INVALID
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let at = 0;
  while (at < line.length) {
    const space = /\s*/y;
    space.lastIndex = at;
    at += space.exec(line)?.[0].length ?? 0;
    if (at >= line.length) break;
    const { word, end } = wordAt(line, at);
    words.push(word);
    at = end;
  }
  if (words.length === 0 || words.some((word) => word === "")) throw invalid(line);
  return words;
}

/** Parts that touch are one word. */
function wordAt(line: string, start: number): { word: string; end: number } {
  let word = "";
  WORD.lastIndex = start;
  let end = start;
  for (let part = WORD.exec(line); part !== null; part = WORD.exec(line)) {
    word += part[1] ?? part[2] ?? part[3] ?? "";
    end = WORD.lastIndex;
  }
  if (end === start || (end < line.length && !/\s/.test(line.charAt(end)))) throw invalid(line);
  return { word, end };
}

function invalid(line: string): SovereignError {
  const found = JSON.stringify(line.slice(0, 100));
  const text = `Expected --command "PROGRAM ARGUMENTS", with each quote closed. Found ${found}.`;
  return new SovereignError("ERR_REQUEST_INVALID", text);
}
