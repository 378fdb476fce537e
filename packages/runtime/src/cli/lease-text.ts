import type { WatchEvent } from "../services/index.ts";
import type { LeaseHealth } from "../installation/index.ts";
import { oneLine } from "./output.ts";

/** One line about whether a machine hears of the others. */
export function describeLease({ ms, state, left_ms, read_at, read_by }: LeaseHealth): string {
  const read =
    read_at === null
      ? "never read here"
      : oneLine`last read ${read_at}${read_by === null ? "" : oneLine` by process ${read_by}`}`;
  switch (state) {
    case "live":
      return oneLine`live, ${left_ms} of ${ms} ms left; the other machines' orders were ${read}`;
    case "ended":
      return oneLine`ENDED, so nothing runs; the other machines' orders were ${read}`;
    case "unwatched":
      return "none: this machine hears of the others when work starts, and not before; to have it hear always: sovereign nodes watch, or scram serve";
  }
}

export function describeWatch(event: WatchEvent): string {
  switch (event.event) {
    case "watching":
      return oneLine`${event.node} watches the other machines of its installation`;
    case "unheard":
      return oneLine`NOT HEARD: what the other machines order; nothing runs here until it is: ${event.why}`;
    case "heard":
      return "the other machines are heard again";
    case "unwatched":
      return oneLine`NOT WATCHED: what the other machines order is not heard here: ${event.why}`;
  }
}
