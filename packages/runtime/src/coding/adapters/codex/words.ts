/**
 * The words of a command as a POSIX shell reads them, where nothing in it is to be expanded.
 *
 * @param text untrusted: what Codex prints of a command, each word quoted where it needs to be
 * @returns null where a quote is not closed
 */
export function wordsOf(text: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let at = 0;
  while (at < text.length) {
    const letter = text.charAt(at);
    if (letter === " ") {
      if (word !== null) words.push(word);
      word = null;
      at += 1;
      continue;
    }
    const part = partOf(text, at);
    if (part === null) return null;
    word = (word ?? "") + part.said;
    at = part.next;
  }
  if (word !== null) words.push(word);
  return words;
}

interface Part {
  readonly said: string;
  readonly next: number;
}

/** One quoted part, or one letter. */
function partOf(text: string, at: number): Part | null {
  const letter = text.charAt(at);
  if (letter === "'") {
    const end = text.indexOf("'", at + 1);
    return end < 0 ? null : { said: text.slice(at + 1, end), next: end + 1 };
  }
  if (letter === '"') return doubleQuoted(text, at + 1);
  if (letter === "\\") return { said: text.charAt(at + 1), next: at + 2 };
  return { said: letter, next: at + 1 };
}

function doubleQuoted(text: string, from: number): Part | null {
  let said = "";
  for (let at = from; at < text.length; at += 1) {
    const letter = text.charAt(at);
    if (letter === '"') return { said, next: at + 1 };
    const next = text.charAt(at + 1);
    const isEscape = letter === "\\" && '"\\$`'.includes(next) && next !== "";
    said += isEscape ? next : letter;
    if (isEscape) at += 1;
  }
  return null;
}
