/**
 * A text of somebody else's, made fit to be recorded: well-formed, and no longer than a limit. It is
 * cut between characters, never inside of one, so that it always has a canonical form.
 *
 * @param text untrusted
 * @param lengthMax in UTF-16 units, as `text.length` counts them
 */
export function cutText(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text.toWellFormed();
  // Half a character at the end is one that has a first half and no second one.
  const last = text.charCodeAt(lengthMax - 1);
  const end = last >= 0xd800 && last <= 0xdbff ? lengthMax - 1 : lengthMax;
  return text.slice(0, end).toWellFormed();
}
