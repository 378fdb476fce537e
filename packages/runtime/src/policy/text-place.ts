/** `file:line:column` of a character of a text, both counted from 1. */
export function textPlace(path: string, text: string, at: number): string {
  const before = text.slice(0, at);
  const line = before.split("\n").length;
  return `${path}:${line}:${at - before.lastIndexOf("\n")}`;
}
