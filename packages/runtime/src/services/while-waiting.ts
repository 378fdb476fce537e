/** Nobody is told of what takes less. */
const FIRST_MS = 3000;

/**
 * Do work that may take long the first time, and say every few seconds what is waited for: without a
 * word, who waits takes it for a hang.
 *
 * @param what asked each time: what is waited for may change
 * @param tell takes one line
 */
export async function whileWaiting<T>(
  what: () => string,
  tell: (text: string) => void,
  work: () => Promise<T>,
  everyMs: number = FIRST_MS,
): Promise<T> {
  let seconds = 0;
  const telling = setInterval(() => {
    seconds += everyMs / 1000;
    tell(`${what()} (${Math.round(seconds)} s)`);
  }, everyMs);
  try {
    return await work();
  } finally {
    clearInterval(telling);
  }
}
