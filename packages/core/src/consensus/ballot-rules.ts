import type { JsonObject, JsonValue } from "../formats/index.ts";
import type { Ballot } from "./judge-votes.ts";
import { judgeModelClaims } from "./model-claims.ts";
import { isResultAcceptance, judgeResultClaims } from "./result-claims.ts";

/** What the agents of one ballot were all given. */
export interface BallotGiven {
  /** The limits that the judged model is held to; absent or null where there are none. */
  readonly acceptance: JsonValue | undefined;
  /** SHA-256 of each input, by its name. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly seed: number;
}

const JUDGED = ["train", "test", "model", "metrics", "result"];

/**
 * Voters that judge by acceptance limits are held to the rule over their own claims, and to what
 * control knows: the limits, the digests that they were given, the seed. The limits say whether a
 * model is judged, or a coding agent's result.
 */
export function ballotRules({ acceptance, inputs, seed }: BallotGiven): Omit<Ballot, "electorate"> {
  if (acceptance === undefined || acceptance === null) return {};
  const given = JUDGED.flatMap((name): [string, JsonObject][] => {
    const digest = Object.hasOwn(inputs, name) ? inputs[name] : undefined;
    return digest === undefined ? [] : [[name, { given: digest }]];
  });
  const known = { acceptance, artifacts: Object.fromEntries(given), seed };
  const rule = isResultAcceptance(acceptance) ? judgeResultClaims : judgeModelClaims;
  return { rule, known };
}
