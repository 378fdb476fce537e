/**
 * Match a path or an argument against a pattern, from end to end. `*` is any run of characters
 * but `/`, `?` one character but `/`; `**` is any run of characters, and `**` with a `/` behind it,
 * at the beginning of a name, any number of whole folders, none too. Everything else is itself.
 *
 * Linear in pattern times text, without backtracking: a hostile pattern cannot make it hang.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const parts = patternParts(pattern);
  let reached = beginning(parts);
  for (const character of text) {
    reached = readOn(parts, reached, character);
    if (reached.size === 0) return false;
  }
  return reached.has(parts.length);
}

/** Numbers of parts, from the first on, that match what was read so far. */
export type Reached = ReadonlySet<number>;

/** What is reached before anything is read. */
export function beginning(parts: readonly string[]): Reached {
  return closure(parts, new Set([0]));
}

/** What is reached when one more character was read. */
export function readOn(parts: readonly string[], reached: Reached, character: string): Reached {
  const next = new Set<number>();
  for (const at of reached) step(parts, at, character, next);
  return closure(parts, next);
}

/** Folders, none too, and then the folders' characters, which only a `/` leads out of. */
const [FOLDERS, IN_FOLDERS] = ["**/", "**/…"];

/** A pattern's wildcards, and its other characters one by one. */
export function patternParts(pattern: string): string[] {
  const parts: string[] = [];
  const characters = Array.from(pattern);
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] as string;
    if (character !== "*" || characters[at + 1] !== "*") parts.push(character);
    else if (characters[at + 2] === "/" && (at === 0 || characters[at - 1] === "/")) {
      parts.push(FOLDERS, IN_FOLDERS);
      at += 2;
    } else {
      parts.push("**");
      at++;
    }
  }
  return parts;
}

function step(parts: readonly string[], at: number, character: string, next: Set<number>): void {
  const part = parts[at];
  if (part === undefined || part === FOLDERS) return;
  if (part === IN_FOLDERS) {
    next.add(at);
    if (character === "/") next.add(at + 1);
  } else if (part === "**" || (part === "*" && character !== "/")) next.add(at);
  else if (part === "?" ? character !== "/" : part === character) next.add(at + 1);
}

/** A star may also stand for nothing; so may folders, or the first of them begins. */
function closure(parts: readonly string[], reached: Set<number>): Reached {
  for (const at of reached) {
    const part = parts[at];
    if (part === "*" || part === "**") reached.add(at + 1);
    if (part === FOLDERS) reached.add(at + 1).add(at + 2);
  }
  return reached;
}
