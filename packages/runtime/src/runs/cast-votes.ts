import {
  type ArtifactRef,
  type CastVote,
  digestOf,
  type Envelope,
  predicateType,
} from "@sovereign/core";
import type { Authority } from "../authority/index.ts";
import type { Clock } from "../system/index.ts";
import type { RunSession } from "./run-session.ts";

/** What an agent decided, before it is signed. */
export interface Vote extends Pick<CastVote, "role" | "verdict" | "claims"> {
  /** The file in which it says so. */
  readonly output: ArtifactRef;
}

/**
 * Sign the votes of a ballot and record them together. Each agent's own role key signs, here: a key
 * never enters a sandbox.
 */
export async function castVotes(
  {
    session,
    authority,
    clock,
  }: { readonly session: RunSession; readonly authority: Authority; readonly clock: Clock },
  ballot: string,
  votes: readonly Vote[],
): Promise<CastVote[]> {
  const { runId: run_id } = session.plan;
  let cast: CastVote[] = [];
  const sign = async (): Promise<Record<string, Envelope>> => {
    const envelopes: Record<string, Envelope> = {};
    cast = [];
    for (const { role, verdict, claims, output } of votes) {
      const cast_at = clock.now().toISOString();
      const about = { run_id, ballot, role, output_digest: output.sha256, cast_at };
      const subject = { name: output.name, sha256: output.sha256 };
      const predicate = { ...about, verdict, claims };
      const signed = await authority.issue("vote", [subject], predicate, "role", role);
      const keyId = signed.signatures[0]?.keyid ?? "";
      cast.push({ role, keyId, envelope: digestOf(signed), verdict, claims });
      envelopes[`vote_${cast.length}`] = signed;
    }
    return envelopes;
  };
  await session.attest(predicateType("vote"), sign, { ballot });
  return cast;
}
