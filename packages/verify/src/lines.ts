import { concatBytes, SovereignError } from "@sovereign/core";

/**
 * Split a file into its lines. Only LF ends one: JSON may hold U+2028, which some readers of lines
 * take for an end too.
 *
 * @param chunks untrusted, of any sizes
 * @param bytesMax the longest line; so much is held at most, beside one chunk
 * @throws ERR_VERIFY_INVALID for a longer line
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      yield joined(rest, chunk.subarray(from, at), bytesMax);
      rest = new Uint8Array();
      from = at + 1;
    }
    rest = joined(rest, chunk.subarray(from), bytesMax);
  }
  if (rest.length > 0) yield rest;
}

const LF = 0x0a;

function joined(rest: Uint8Array, more: Uint8Array, bytesMax: number): Uint8Array {
  if (rest.length + more.length <= bytesMax) return concatBytes(rest, more);
  throw new SovereignError("ERR_VERIFY_INVALID", `A line of more than ${bytesMax} bytes.`);
}
