/** What a person sees while a large file is verified. */
export interface Progress {
  readonly tell: (entries: number) => void;
  readonly end: () => void;
}

const EVERY_MS = 500;

/** One line that is written over and over, on a terminal alone: nothing of it is left at the end. */
export function progressOn(
  stream: { readonly isTTY?: boolean; write(text: string): unknown },
  wanted: boolean,
): Progress {
  if (!wanted || stream.isTTY !== true) return { tell: () => undefined, end: () => undefined };
  let last = performance.now();
  let shown = false;
  return {
    tell: (entries) => {
      const now = performance.now();
      if (now - last < EVERY_MS) return;
      last = now;
      shown = true;
      stream.write(`\r${entries.toLocaleString("en")} entries verified …`);
    },
    end: () => {
      if (shown) stream.write("\r\u001b[K");
    },
  };
}
