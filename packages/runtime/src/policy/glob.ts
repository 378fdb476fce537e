/**
 * Match a path or an argument against a pattern, from end to end. `*` is any run of characters
 * but `/`, `**` any run of characters, `?` one character but `/`; everything else is itself.
 *
 * Linear in pattern times text, without backtracking: a hostile pattern cannot make it hang.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const parts = tokens(pattern);
  // reached[i]: the first i parts match what was read so far.
  let reached = closure(parts, new Set([0]));
  for (const character of text) {
    const next = new Set<number>();
    for (const at of reached) {
      const part = parts[at];
      if (part === undefined) continue;
      if (part === "**" || (part === "*" && character !== "/")) next.add(at);
      else if (part === "?" ? character !== "/" : part === character) next.add(at + 1);
    }
    reached = closure(parts, next);
    if (reached.size === 0) return false;
  }
  return reached.has(parts.length);
}

function tokens(pattern: string): string[] {
  const parts: string[] = [];
  const characters = Array.from(pattern);
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] as string;
    if (character === "*" && characters[at + 1] === "*") {
      parts.push("**");
      at++;
    } else parts.push(character);
  }
  return parts;
}

/** A star may also stand for nothing. */
function closure(parts: readonly string[], reached: Set<number>): Set<number> {
  for (const at of reached) {
    if (parts[at] === "*" || parts[at] === "**") reached.add(at + 1);
  }
  return reached;
}
