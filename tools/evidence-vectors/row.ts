import type { JsonObject } from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";

/** What a forger must have had: nothing, the two keys that seal and head, or every key. */
export type Held = "nothing" | "checkpoint and seal" | "all keys";

export interface Row {
  readonly name: string;
  readonly held: Held;
  readonly base:
    | "pipeline"
    | "execution"
    | "compatible"
    | "stopped"
    | "agent"
    | "compare"
    | "source"
    | "goal"
    | "connection";
  readonly verdict: "VALID" | "INVALID" | "INCOMPLETE" | "UNTRUSTED_KEY";
  readonly make: (forgery: Forgery) => Promise<void> | void;
}

type Make = Row["make"];

export const nothing = (name: string, make: Make, verdict: Row["verdict"] = "INVALID"): Row => ({
  name,
  held: "nothing",
  base: "pipeline",
  verdict,
  make,
});

/** Changed, and then made to fit again by the keys that head and seal. */
export const sealed = (name: string, make: Make, base: Row["base"] = "pipeline"): Row => ({
  name,
  held: "checkpoint and seal",
  base,
  verdict: "INVALID",
  make: async (forgery) => {
    await make(forgery);
    await forgery.rebuild();
  },
});

export const all = (name: string, make: Make, base: Row["base"] = "pipeline"): Row => ({
  ...sealed(name, make, base),
  held: "all keys",
});

export function edit(
  forgery: Forgery,
  event: string,
  change: (data: JsonObject) => void,
  nth = 0,
): void {
  const { entry } = forgery.entry(event, nth);
  entry.data = structuredClone(entry.data);
  change(entry.data);
}

export const inside = (data: JsonObject, name: string): JsonObject => data[name] as JsonObject;

/** All signatures after the run's beginning as of a later count of the key log. */
export const inEpoch = (one: Forgery, epoch: number): void => {
  for (const placed of one.bundle.entries.slice(1)) {
    if ("key_epoch" in placed.entry.data) {
      placed.entry.data = { ...placed.entry.data, key_epoch: epoch };
    }
  }
};
