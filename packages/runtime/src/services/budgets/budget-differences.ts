import { budgetEndOf, budgetHoldOf, type PlacedEntry } from "@sovereign/core";
import type { BudgetUse, StoredHold } from "../../runs/index.ts";
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

/** @throws Difference where what a run holds and has used of its own budget is not what the entries say */
export function expectUse(use: BudgetUse, entries: readonly PlacedEntry[]): void {
  for (const [name, said] of Object.entries(useOf(holdsOf(entries).values()))) {
    const found = use[name as keyof BudgetUse];
    if (found === said) continue;
    const text = `the row says ${String(found)}; the evidence says ${String(said)}`;
    throw new Difference(`budget_use[run].${name}`, text);
  }
}

function useOf(holds: Iterable<StoredHold>): BudgetUse {
  const [held, used] = [{ ...NOTHING }, { ...NOTHING }];
  for (const { microusd, tokens, ms, used_microusd, used_tokens, used_ms } of holds) {
    const sum = used_ms === null ? held : used;
    sum.microusd += used_microusd ?? microusd;
    sum.tokens += used_tokens ?? tokens;
    sum.steps += 1;
    sum.ms += used_ms ?? ms;
  }
  const named = (word: string, sum: object): [string, number][] =>
    Object.entries(sum).map(([unit, value]) => [`${word}_${unit}`, value as number]);
  const all = [...named("held", held), ...named("used", used)];
  return Object.fromEntries(all) as unknown as BudgetUse;
}

const NOTHING = { microusd: 0, tokens: 0, steps: 0, ms: 0 };

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
