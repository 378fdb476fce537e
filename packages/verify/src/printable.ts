/** Controls, and characters that turn the direction of writing or cannot be seen. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const CHARACTERS_MAX = 2000;

/**
 * Text of the evidence, for people to read. Whoever wrote it could otherwise move a terminal's
 * cursor and write a verdict of their own, or show words in another order than they stand.
 *
 * @param text untrusted
 * @returns one line of at most 2,000 characters; what cannot be seen is written as `\u{…}`
 */
export function printable(text: string): string {
  const cut = text.length > CHARACTERS_MAX ? `${text.slice(0, CHARACTERS_MAX - 1)}…` : text;
  return cut.replace(UNSEEN, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}
