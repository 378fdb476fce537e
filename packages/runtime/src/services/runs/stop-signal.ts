import { SovereignError } from "@sovereign/core";
import type { ScramLink, WorkOwner } from "../../scram/index.ts";

/** One signal for both: Ctrl-C, and a kill switch that trips while work runs. */
export function stoppable(
  outer: AbortSignal,
  scram: Pick<ScramLink, "onStop">,
  owner: WorkOwner,
): { signal: AbortSignal; stopWatching: () => void } {
  const controller = new AbortController();
  const stopWatching = scram.onStop(owner, ({ code, reason }) => {
    controller.abort(new SovereignError(code, `The kill switch is ${reason}.`));
  });
  // Whatever was stopped before this began counts, too: no event tells of it any more.
  return { signal: AbortSignal.any([outer, controller.signal]), stopWatching };
}
