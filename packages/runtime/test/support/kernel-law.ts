import type { Action } from "@sovereign/core";
import { expect } from "vitest";
import type {
  Effect,
  EffectResult,
  ExecuteRequest,
  Invocation,
  Outcome,
} from "../../src/kernel/index.ts";
import { PROMOTE, TRAIN, type World } from "./world.ts";

/** An action that the policy of a `World` denies. */
export const FORBIDDEN: Action = { ...TRAIN, type: "model.delete" };

export const done = (): EffectResult => ({
  status: "completed",
  output: { done: true },
  artifacts: [],
  usage: { wall_ms: 1, output_bytes: 0 },
});

/** Effects that do nothing, and what they were called with. */
export function witness(): {
  readonly seen: Invocation[];
  readonly effect: Effect;
  readonly effects: { readonly "model.train": Effect; readonly "model.promote": Effect };
} {
  const seen: Invocation[] = [];
  const effect: Effect = (invocation) => {
    seen.push(invocation);
    return Promise.resolve(done());
  };
  return { seen, effect, effects: { "model.train": effect, "model.promote": effect } };
}

/** A request with all that it needs. */
export async function requestFor(world: World, action: Action): Promise<ExecuteRequest> {
  const context = world.context(action === PROMOTE ? { role: "deployer" } : {});
  const people = action === PROMOTE ? ["release_manager", "safety_officer"] : [];
  const approvals = await Promise.all(people.map((who) => world.approve(who, action, context)));
  return { action, context, authorization: await world.permission(action, context), approvals };
}

/** Everything is as if nobody had tried anything: what is allowed runs, and nothing else. */
export async function expectLaw(world: World): Promise<void> {
  const { seen, effect, effects } = witness();
  const kernel = world.kernel({ effects: { ...effects, "model.delete": effect } });
  const ask = async (action: Action, more: Partial<ExecuteRequest> = {}): Promise<Outcome> =>
    kernel.execute({ ...(await requestFor(world, action)), ...more });
  expect(await ask(TRAIN)).toMatchObject({ status: "COMPLETED" });
  expect(await ask(PROMOTE)).toMatchObject({ status: "COMPLETED" });
  expect(seen.map(({ action }) => action)).toEqual([TRAIN, PROMOTE]);
  expect(await ask(PROMOTE, { approvals: [] })).toMatchObject({ status: "PENDING" });
  expect(await ask(TRAIN, { authorization: null })).toMatchObject({ status: "BLOCKED" });
  const none = { authorization: null, approvals: [], context: world.context() };
  expect(await kernel.execute({ ...none, action: FORBIDDEN })).toMatchObject({ status: "DENIED" });
  const loose = world.context({ mode: "compatible" });
  const open = { ...(await requestFor(world, TRAIN)), context: loose };
  expect(await kernel.execute(open)).toMatchObject({ code: "ERR_MODE_REFUSED" });
  const context = world.context({ role: "deployer" });
  const strangers = await Promise.all(
    ["intruder", "stranger"].map((who) => world.approve(who, PROMOTE, context)),
  );
  expect(await ask(PROMOTE, { approvals: strangers })).toMatchObject({ status: "PENDING" });
  expect(seen).toHaveLength(2);
}
