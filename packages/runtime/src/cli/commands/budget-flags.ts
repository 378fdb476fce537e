import { type Command, InvalidArgumentError } from "commander";

/** The limits of a budget that is set by itself, which `none` takes away. */
export function withLimits(command: Command): Command {
  return command
    .option("--cents <n|none>", "US cents", limitOrNone)
    .option("--tokens <n|none>", "tokens of models", limitOrNone)
    .option("--steps <n|none>", "attempts of steps", limitOrNone)
    .option("--seconds <n|none>", "seconds in which steps run", limitOrNone);
}

function limitOrNone(text: string): number | null {
  return text === "none" ? null : limit(text);
}

/** A whole number from 1 on. */
export function limit(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number from 1 to 9999999999");
}
