import { type Command, InvalidArgumentError } from "commander";
import { limitsOf, type NamedLimits, type SaidLimits } from "../../services/index.ts";

/** The limits of a budget that is set by itself, which `none` takes away. */
export function withLimits(command: Command): Command {
  return command
    .option("--cents <n|none>", "US cents", limitOrNone)
    .option("--tokens <n|none>", "tokens of models", limitOrNone)
    .option("--steps <n|none>", "attempts of steps", limitOrNone)
    .option("--seconds <n|none>", "seconds in which steps run", limitOrNone);
}

/** Flags of {@link withLimits}: commander keeps no null, so `none` stays a word until here. */
export type LimitFlags = Readonly<Partial<Record<keyof SaidLimits, number | "none">>>;

export function limitsSaid(flags: LimitFlags): NamedLimits {
  const units = ["cents", "tokens", "steps", "seconds"] as const;
  const said = units.flatMap((unit) => {
    const value = flags[unit];
    return value === undefined ? [] : [[unit, value === "none" ? null : value] as const];
  });
  return limitsOf(Object.fromEntries(said));
}

function limitOrNone(text: string): number | "none" {
  return text === "none" ? "none" : limit(text);
}

/** A whole number from 1 on. */
export function limit(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number from 1 to 9999999999");
}
