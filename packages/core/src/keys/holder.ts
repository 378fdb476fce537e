/**
 * Characters that are read as one another, each with what stands for all of them. What looks like two is
 * made two: the other way round, it would depend on where in a name one begins to read.
 */
const LOOKALIKES: readonly (readonly [RegExp, string])[] = [
  [/[1il|!]/g, "l"],
  [/0/g, "o"],
  [/5/g, "s"],
  [/m/g, "rn"],
  [/w/g, "vv"],
];

/**
 * Whether two names are one person's, or are so alike that a reader takes them for one: case,
 * spaces, marks and separators do not tell people apart, nor do characters that look the same.
 *
 * @param one a holder's name, as a key record has it
 */
export function isSameHolder(one: string, other: string): boolean {
  return holderOf(one) === holderOf(other);
}

/**
 * How many people some names stand for: names of one holder count once.
 *
 * @param names holders' names, as key records have them
 */
export function countHolders(names: Iterable<string>): number {
  return new Set([...names].map(holderOf)).size;
}

/** One text for all names that are one person's: to count people by, and never to show. */
export function holderOf(name: string): string {
  const letters = name
    .normalize("NFKD")
    // Up and down again: letters of one capital, such as i and ı, are one.
    .toUpperCase()
    .toLowerCase()
    .replace(/[\p{M}\p{Z}\p{C}\s_.-]/gu, "");
  return LOOKALIKES.reduce((text, [alike, one]) => text.replace(alike, one), letters);
}
