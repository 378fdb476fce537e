import { z } from "zod";
import { fields, type JsonObject, type JsonValue } from "../formats/index.ts";
import { canonicalize } from "../json/index.ts";

const words = z.array(z.string().max(8000)).min(1).max(1000);

const gate = z.string().regex(/^TL-[A-Z]$/, "expected a gate of tools, such as TL-A");

/** What validators of an agent's result hold it to: it stands in the snapshot, signed before. */
export const resultAcceptance = z.strictObject({
  kind: z.literal("agent_result"),
  /** The commit that each result has to begin with. */
  base: fields.gitId,
  /** Commands that have to succeed on the result's tree, each in a fresh sandbox. */
  verify: z.array(words).max(100),
  /** Gates that have to hold over the agent's own run; absent where validators did not judge them. */
  gates: z.array(gate).max(20).exactOptional(),
});
export type ResultAcceptance = z.infer<typeof resultAcceptance>;

/** What every validator states about one result: what it found, and nothing of its time or place. */
export const resultClaims = z.strictObject({
  acceptance: resultAcceptance,
  artifacts: z.strictObject({
    /** The patch: its digest as it was given, and of the patch made again from the commit. */
    result: z.strictObject({ given: fields.digest, derived: fields.digest }),
  }),
  result: z.strictObject({
    base: fields.gitId,
    commit: fields.gitId,
    tree: fields.gitId,
    files_changed: fields.count,
  }),
  scope: z.strictObject({
    /** Changes that policy does not allow: how many, and why the first of them is none. */
    refused: fields.count,
    first: z.string().max(500).nullable(),
  }),
  /** The code of the failure; null where the command succeeded. */
  verify: z.array(z.strictObject({ argv: words, code: z.string().max(80).nullable() })).max(100),
  /** What the gates say of the agent's own run, so far. */
  gates: z
    .array(z.strictObject({ gate, verdict: z.enum(["pass", "fail", "not_applicable"]) }))
    .max(20)
    .exactOptional(),
  seed: fields.count,
});
export type ResultClaims = z.infer<typeof resultClaims>;

/** True for limits that results of agents are judged by. */
export function isResultAcceptance(acceptance: JsonValue | undefined): boolean {
  return resultAcceptance.safeParse(acceptance).success;
}

/**
 * The verdict that claims about an agent's result compel: the patch is the one that was given, begins
 * with the base, changes something, stays within policy, every command succeeded on it, and the gates
 * hold over the agent's own run.
 *
 * @param claims untrusted
 * @returns null when the claims have not the declared form
 */
export function judgeResultClaims(claims: JsonObject): "approve" | "reject" | null {
  const parsed = resultClaims.safeParse(claims);
  return parsed.success ? (isAcceptable(parsed.data) ? "approve" : "reject") : null;
}

/** What they judge has not happened yet where a result waits: who applies it is held to them then. */
const LATER: readonly string[] = ["TL-B", "TL-F"];

function doGatesHold({ acceptance, gates = [] }: ResultClaims): boolean {
  const { gates: wanted = [] } = acceptance;
  return (
    gates.map((one) => one.gate).join() === wanted.join() &&
    gates.every(
      (one) =>
        one.verdict === "pass" || (one.verdict === "not_applicable" && LATER.includes(one.gate)),
    )
  );
}

function isAcceptable(claims: ResultClaims): boolean {
  const { acceptance, artifacts, result, scope, verify } = claims;
  const wanted = acceptance.verify.map((argv) => canonicalize(argv)).join("\n");
  const run = verify.map(({ argv }) => canonicalize(argv)).join("\n");
  return (
    artifacts.result.given === artifacts.result.derived &&
    result.base === acceptance.base &&
    result.files_changed > 0 &&
    scope.refused === 0 &&
    run === wanted &&
    verify.every(({ code }) => code === null) &&
    doGatesHold(claims)
  );
}
