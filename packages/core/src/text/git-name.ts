/** What git writes behind a backslash in a name, beside three octal digits. */
const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/**
 * A name as git writes it, without its quotes and escapes.
 *
 * @param name untrusted; each of its characters is one byte
 * @returns the same text where it stands in no quotes
 */
export function unquoteGitName(name: string): string {
  const inner = /^"(.*)"$/s.exec(name)?.[1];
  if (inner === undefined) return name;
  return inner.replaceAll(/\\([0-7]{3}|.)/gs, (_, escape: string) =>
    escape.length === 3
      ? String.fromCharCode(Number.parseInt(escape, 8) & 0xff)
      : (ESCAPES[escape] ?? escape),
  );
}
