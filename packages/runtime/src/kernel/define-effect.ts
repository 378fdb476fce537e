import {
  ACTIONS,
  type ActionParams,
  type ActionType,
  parseFormat,
  type RecalledType,
} from "@sovereign/core";
import { readResult } from "./effect.ts";
import type { Effect, EffectResult, Invocation } from "./ports.ts";

/** An invocation whose parameters were held against the catalogue. */
export interface TypedInvocation<T extends ActionType> extends Invocation {
  readonly params: ActionParams<T>;
}

type Work<T extends ActionType> = (invocation: TypedInvocation<T>) => Promise<EffectResult>;
type Recall<T extends ActionType> = (
  invocation: TypedInvocation<T>,
) => Promise<EffectResult | null>;

/**
 * The effect of one type of action. What it is given and what it answers has the shape that the
 * catalogue declares; a type that is recalled needs the third argument.
 *
 * @param work does it, once its intent is durable
 * @param recall says whether an earlier attempt happened; begins nothing
 */
export function defineEffect<T extends RecalledType>(
  type: T,
  work: Work<T>,
  recall: Recall<T>,
): Effect;
export function defineEffect<T extends Exclude<ActionType, RecalledType>>(
  type: T,
  work: Work<T>,
): Effect;
export function defineEffect<T extends ActionType>(
  type: T,
  work: Work<T>,
  recall?: Recall<T>,
): Effect {
  const { params: format, output } = ACTIONS[type];
  const typed = (invocation: Invocation): TypedInvocation<T> => {
    const params = parseFormat(format, invocation.action.params, `${type} action`);
    return { ...invocation, params: params as ActionParams<T> };
  };
  // What is checked is what is recorded: a copy of our own, which answers nobody otherwise.
  const checked = (given: EffectResult): EffectResult => {
    const result = readResult(given);
    if (result.status !== "completed") return result;
    parseFormat(output, result.output, `${type} output`, "ERR_EFFECT_RESULT");
    return result;
  };
  const effect: Effect = async (invocation) => checked(await work(typed(invocation)));
  if (recall === undefined) return effect;
  return Object.assign(effect, {
    recall: async (invocation: Invocation) => {
      const found = await recall(typed(invocation));
      return found === null ? null : checked(found);
    },
  });
}
