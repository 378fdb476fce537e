import { setTimeout as sleep } from "node:timers/promises";

/** Resolves after so many milliseconds, or at once when the signal comes; never rejects. */
export async function rest(ms: number, signal?: AbortSignal): Promise<void> {
  // The one failure there is: the signal, which whoever rests looks at.
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
