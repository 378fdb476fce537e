import type { WatchEvent } from "../services/index.ts";
import type { LeaseHealth } from "../installation/index.ts";

/** One line about whether a machine hears of the others. */
export function describeLease({ ms, state, left_ms, read_at, read_by }: LeaseHealth): string {
  const read =
    read_at === null
      ? "never read here"
      : `last read ${read_at}${read_by === null ? "" : ` by process ${read_by}`}`;
  switch (state) {
    case "live":
      return `live, ${left_ms} of ${ms} ms left; the other machines' orders were ${read}`;
    case "ended":
      return `ENDED, so nothing runs; the other machines' orders were ${read}`;
    case "unwatched":
      return "none: this machine hears of the others when work starts, and not before; to have it hear always: sovereign nodes watch, or scram serve";
  }
}

export function describeWatch(event: WatchEvent): string {
  switch (event.event) {
    case "watching":
      return `${event.node} watches the other machines of its installation`;
    case "unheard":
      return `NOT HEARD: what the other machines order; nothing runs here until it is: ${event.why}`;
    case "heard":
      return "the other machines are heard again";
    case "unwatched":
      return `NOT WATCHED: what the other machines order is not heard here: ${event.why}`;
  }
}
