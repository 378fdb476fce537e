/** Controls, and characters that turn the direction of writing or cannot be seen. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|\p{Default_Ignorable_Code_Point}/gu;
const CHARACTERS_MAX = 2000;
const QUOTED_MAX = 200;

/**
 * Text that somebody else wrote, for people to read. Whoever wrote it could otherwise move a
 * terminal's cursor and write a verdict of their own, or show words in another order than they
 * stand.
 *
 * @param text untrusted
 * @returns one line of at most 2,000 characters; what cannot be seen is written as `\u{…}`
 */
export function printable(text: string): string {
  const cut = text.length > CHARACTERS_MAX ? `${text.slice(0, CHARACTERS_MAX - 1)}…` : text;
  return cut.replace(UNSEEN, escaped);
}

/**
 * A name that somebody else gave, as it stands in messages: in quotes, so that its ends are seen.
 *
 * @param name untrusted
 * @returns {@link printable} text without a half character, of at most 200 characters of the name
 */
export function quoted(name: string): string {
  const cut = name.length > QUOTED_MAX ? `${name.slice(0, QUOTED_MAX).replace(HALF, "")}…` : name;
  return `"${cut.replaceAll(/["\\]/g, "\\$&").replace(UNSEEN, escaped)}"`;
}

/** Of a pair of surrogates, the first alone. */
const HALF = /[\ud800-\udbff]$/;

/**
 * Text of several lines for a terminal: as {@link printable}, but for the lines' ends and tabs.
 *
 * @param text partly untrusted
 */
export function printableLines(text: string): string {
  return text.replace(UNSEEN, (one) => (one === "\n" || one === "\t" ? one : escaped(one)));
}

/**
 * JSON whose strings hold nothing that a terminal obeys. Who reads it gets the same value.
 *
 * @param text JSON
 */
export function printableJson(text: string): string {
  const unit = (one: string): string => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(UNSEEN, (one) => (one === "\n" ? one : one.split("").map(unit).join("")));
}

function escaped(one: string): string {
  return `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`;
}
