const ALPHABET =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
const VALUES = new Map(Array.from(ALPHABET, (letter, value) => [letter, value]));

/**
 * One line of a binary patch: a letter for how many bytes it holds, then five letters for four.
 *
 * @returns null when it is no such line
 */
export function decodeBase85Line(line: string): Uint8Array | null {
  const length = lengthOf(line.charAt(0));
  const letters = line.slice(1);
  if (length === null || letters.length !== 5 * Math.ceil(length / 4)) return null;
  const bytes = new Uint8Array((letters.length / 5) * 4);
  const view = new DataView(bytes.buffer);
  for (let group = 0; group * 5 < letters.length; group++) {
    let value = 0;
    for (const letter of letters.slice(group * 5, group * 5 + 5)) {
      const digit = VALUES.get(letter);
      if (digit === undefined) return null;
      value = value * 85 + digit;
    }
    if (value > 0xffffffff) return null;
    view.setUint32(group * 4, value);
  }
  return bytes.subarray(0, length);
}

function lengthOf(letter: string): number | null {
  if (/^[A-Z]$/.test(letter)) return letter.charCodeAt(0) - 64;
  if (/^[a-z]$/.test(letter)) return letter.charCodeAt(0) - 70;
  return null;
}
