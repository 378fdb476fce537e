import { type Command, InvalidArgumentError } from "commander";
import type { NamedLimits } from "../../services/index.ts";

const CENT = 10_000;
const SECOND = 1000;

/** What the command line says of limits: null for `none`. */
export interface LimitFlags {
  readonly cents?: number | null;
  readonly tokens?: number | null;
  readonly steps?: number | null;
  readonly seconds?: number | null;
}

/** The limits of a budget that is set by itself, which `none` takes away. */
export function withLimits(command: Command): Command {
  return command
    .option("--cents <n|none>", "US cents", limitOrNone)
    .option("--tokens <n|none>", "tokens of models", limitOrNone)
    .option("--steps <n|none>", "attempts of steps", limitOrNone)
    .option("--seconds <n|none>", "seconds in which steps run", limitOrNone);
}

export function limitsOf({ cents, tokens, steps, seconds }: LimitFlags): NamedLimits {
  const times = (value: number | null, factor: number): number | null =>
    value === null ? null : value * factor;
  return {
    ...(cents === undefined ? {} : { microusd: times(cents, CENT) }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(steps === undefined ? {} : { steps }),
    ...(seconds === undefined ? {} : { ms: times(seconds, SECOND) }),
  };
}

function limitOrNone(text: string): number | null {
  return text === "none" ? null : limit(text);
}

/** A whole number from 1 on. */
export function limit(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number from 1 to 9999999999");
}
