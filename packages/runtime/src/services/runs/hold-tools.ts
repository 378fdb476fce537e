import type { Effect, EffectRegistry, Invocation } from "../../kernel/index.ts";
import { type ToolScope, withTools } from "../../process/index.ts";

/**
 * The same effects, whose tools belong to a scope. So do the tools of a way to recall: it may end what
 * an earlier attempt began, and after a stop it starts nothing.
 */
export function holdTools(tools: ToolScope, effects: EffectRegistry): EffectRegistry {
  const held = Object.entries(effects).map(([type, effect]): [string, Effect] => {
    const { recall } = effect;
    const work: Effect = (invocation) => withTools(tools, true, () => effect(invocation));
    if (recall === undefined) return [type, work];
    const look = (invocation: Invocation): ReturnType<typeof recall> =>
      withTools(tools, true, () => recall.call(effect, invocation));
    return [type, Object.assign(work, { recall: look })];
  });
  return Object.fromEntries(held);
}
