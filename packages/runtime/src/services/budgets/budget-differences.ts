import { budgetEndOf, budgetHoldOf, type PlacedEntry } from "@sovereign/core";
import type { StoredHold } from "../../runs/index.ts";
import { Difference } from "../runs/row-differences.ts";

/** @throws Difference where the rows of what a run held and used are not what the entries say */
export function expectHolds(rows: readonly StoredHold[], entries: readonly PlacedEntry[]): void {
  const expected = holdsOf(entries);
  for (const [name, hold] of expected) {
    const place = `budget_holds[${name}]`;
    const row = rows.find((one) => nameOf(one) === name);
    if (row === undefined) throw new Difference(place, "the row is gone");
    for (const [column, said] of Object.entries(hold)) {
      const found = row[column as keyof StoredHold];
      if (found === said) continue;
      const text = `the row says ${String(found)}; the evidence says ${String(said)}`;
      throw new Difference(`${place}.${column}`, text);
    }
  }
  const stray = rows.find((row) => !expected.has(nameOf(row)));
  if (stray === undefined) return;
  throw new Difference(`budget_holds[${nameOf(stray)}]`, "no entry speaks of it");
}

function nameOf({ step_id, attempt }: { step_id: string; attempt: number }): string {
  return `${step_id} ${attempt}`;
}

function holdsOf(entries: readonly PlacedEntry[]): ReadonlyMap<string, StoredHold> {
  const holds = new Map<string, StoredHold>();
  for (const { entry } of entries) {
    const held = budgetHoldOf(entry);
    const ended = budgetEndOf(entry);
    if (held !== null) {
      holds.set(nameOf(held), { ...held, used_microusd: null, used_tokens: null, used_ms: null });
    }
    const hold = ended === null ? undefined : holds.get(nameOf(ended));
    if (ended === null || hold === undefined || hold.used_ms !== null) continue;
    const took = Date.parse(ended.ended_at) - Date.parse(hold.held_at);
    holds.set(nameOf(hold), {
      ...hold,
      used_microusd: ended.microusd ?? hold.microusd,
      used_tokens: ended.tokens ?? hold.tokens,
      used_ms: Math.min(hold.ms, Math.max(0, took)),
    });
  }
  return holds;
}
