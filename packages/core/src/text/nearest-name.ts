/** Longer ones are no misspelt name of ours. */
const NAME_MAX = 100;

/** The name that a misspelt one was meant to be; null where none is close. */
export function nearestName(name: string, known: readonly string[]): string | null {
  if (name.length > NAME_MAX) return null;
  const asked = name.toLowerCase();
  const last = (text: string): string => text.split(".").at(-1) ?? "";
  let nearest: string | null = null;
  let least = Math.max(2, Math.floor(asked.length / 3)) + 1;
  for (const one of known) {
    const far = Math.min(distance(asked, one), distance(asked, last(one)) + 1);
    // Half of a short name is another name.
    if (far < least && 2 * far < asked.length) [nearest, least] = [one, far];
  }
  return nearest;
}

/** How many letters are to be put in, taken out or changed. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let at = 0; at < one.length; at++) {
    const next = [at + 1];
    for (let to = 0; to < other.length; to++) {
      const change = (row[to] ?? 0) + (one[at] === other[to] ? 0 : 1);
      next.push(Math.min(change, (row[to + 1] ?? 0) + 1, (next[to] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
