import type { LedgerEntry } from "@sovereign/core";
import type { Submission } from "../../packages/client/src/index.ts";
import { AGENT, ORIGIN, type Place } from "./place.ts";

/** What was looked at, and whether it is as it must be. */
export interface Finding {
  readonly holds: boolean;
  readonly found: string;
}

/** One thing to be shown. */
export interface Row {
  readonly id: string;
  readonly criterion: string;
  readonly check: (world: World) => Promise<Finding>;
}

/** What rows share: the installation, and the run that most of them are about. */
export interface World {
  readonly place: Place;
  /** Carried out once, by the first row that needs it. */
  readonly run: () => Promise<string>;
}

export function goalOf(place: Place, more: Partial<Submission> = {}): Submission {
  const goal = `Run proof v4 validation run: fetch http://${place.host}/zen`;
  return { goal, agent_id: AGENT, origin_system_id: ORIGIN, ...more };
}

/** One row is as good as what it compares: both sides are told. */
export function same(found: unknown, expected: unknown): Finding {
  const [first, second] = [JSON.stringify(found), JSON.stringify(expected)];
  const holds = first === second;
  return { holds, found: holds ? first : `${first}, expected ${second}` };
}

export function all(...findings: readonly Finding[]): Finding {
  const broken = findings.filter(({ holds }) => !holds);
  const told = broken.length === 0 ? findings : broken;
  return { holds: broken.length === 0, found: told.map(({ found }) => found).join("; ") };
}

export function eventsOf(entries: readonly LedgerEntry[]): string[] {
  return entries.map(({ event_type }) => event_type);
}
