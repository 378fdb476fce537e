import {
  type ArtifactRef,
  ballotRules,
  canonicalBytes,
  type CastVote,
  type ComplianceBundle,
  digestOf,
  type Envelope,
  type JsonObject,
  judgeResultClaims,
  judgeVotes,
  predicateType,
  type ResultClaims,
  sha256Hex,
} from "@sovereign/core";
import type { RunSession } from "../../src/runs/index.ts";
import { EvidenceWorld, RESULT_ACCEPTANCE, RUN, VOTERS } from "./evidence.ts";
import type { World } from "./world.ts";

export const PATCH = "e".repeat(64);
export const BALLOT = "candidate_1";
export const [COMMIT, TREE] = ["7", "8"].map((digit) => digit.repeat(40)) as [string, string];

/** What a validator says of a result that may be accepted. */
export const GOOD: ResultClaims = {
  acceptance: RESULT_ACCEPTANCE,
  artifacts: { result: { given: PATCH, derived: PATCH } },
  result: { base: RESULT_ACCEPTANCE.base, commit: COMMIT, tree: TREE, files_changed: 1 },
  scope: { refused: 0, first: null },
  verify: [{ argv: ["npm", "test"], code: null }],
  seed: 0,
};

export interface Cast {
  readonly role: string;
  readonly verdict?: "approve" | "reject";
  readonly claims?: Partial<ResultClaims>;
  /** Whose key signs; the role's own where it is absent. */
  readonly by?: string;
}

export interface Ballot {
  readonly votes: readonly Cast[];
  /** What is recorded of the ballot, in the place of what it came to. */
  readonly said?: JsonObject;
  readonly event?: "consensus.reached" | "consensus.failed";
}

/** A sealed run with one ballot on an agent's result, and what the votes came to. */
export async function compareWorld(ballot: Ballot = { votes: both() }): Promise<{
  readonly made: EvidenceWorld;
  readonly found: ReturnType<typeof judgeVotes>;
  /** With the bytes of what the validators wrote. */
  readonly bundle: () => Promise<ComplianceBundle>;
}> {
  const written = new Map<string, Uint8Array>();
  let found = null as ReturnType<typeof judgeVotes> | null;
  const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    found = await vote(session, world, ballot, written);
  });
  const bundle = async (): Promise<ComplianceBundle> => {
    const whole = await made.bundle();
    for (const one of whole.artifacts) {
      const bytes = written.get(one.name);
      if (bytes !== undefined) one.content = Buffer.from(bytes).toString("base64");
    }
    made.remake(whole);
    return whole;
  };
  if (found === null) throw new Error("nobody voted");
  return { made, found, bundle };
}

export function both(claims: Partial<ResultClaims> = {}): Cast[] {
  return VOTERS.map((role) => ({ role, claims }));
}

type Written = Cast & { readonly file: ArtifactRef; readonly content: JsonObject };

async function vote(
  session: RunSession,
  world: World,
  { votes, said = {}, event }: Ballot,
  written: Map<string, Uint8Array>,
): Promise<ReturnType<typeof judgeVotes>> {
  const files = filesOf(votes, written);
  const signed: CastVote[] = [];
  const envelopes: Record<string, Envelope> = {};
  for (const role of VOTERS) {
    const own = files.get(role) ?? [];
    const usage = { wall_ms: 1, output_bytes: 1 };
    const artifacts = own.map(({ file }) => file);
    world.result = { status: "completed", output: null, artifacts, usage };
    const inputs = { result: { artifact: "result.patch", sha256: PATCH } };
    const action = { type: "agent.judge", resource: role, params: { inputs, seed: 0 } };
    await session.perform({ stepId: `${BALLOT}.${role}`, role, action });
    for (const one of own) {
      const { envelope, cast } = await sign(world, role, one);
      envelopes[`vote_${signed.length + 1}`] = envelope;
      signed.push(cast);
    }
  }
  await session.attest(predicateType("vote"), () => Promise.resolve(envelopes), { ballot: BALLOT });
  const inputs = { result: PATCH };
  const rules = ballotRules({ acceptance: RESULT_ACCEPTANCE, inputs, seed: 0 });
  const result = judgeVotes(signed, { electorate: VOTERS, ...rules });
  const reached = result.status === "SOVEREIGN_CONSENSUS_REACHED";
  const told = event ?? (reached ? "consensus.reached" : "consensus.failed");
  await session.note(told, "INFO", { ballot: BALLOT, ...result, ...said });
  return result;
}

function filesOf(votes: readonly Cast[], written: Map<string, Uint8Array>): Map<string, Written[]> {
  const files = new Map<string, Written[]>();
  for (const cast of votes) {
    const claims = { ...GOOD, ...cast.claims } as unknown as JsonObject;
    const verdict = cast.verdict ?? judgeResultClaims(claims) ?? "reject";
    const content = { verdict, claims };
    const bytes = canonicalBytes({ role: cast.role, ...content });
    const before = files.get(cast.role) ?? [];
    const name = `${BALLOT}/${cast.role}.${before.length + 1}.verdict.json`;
    const about = { sha256: sha256Hex(bytes), bytes: bytes.length };
    const file = { name, ...about, media_type: "application/json" };
    files.set(cast.role, [...before, { ...cast, file, content }]);
    written.set(name, bytes);
  }
  return files;
}

async function sign(
  { authority, clock }: World,
  role: string,
  { file, content, by = role }: Written,
): Promise<{ envelope: Envelope; cast: CastVote }> {
  const cast_at = clock.now().toISOString();
  const about = { run_id: RUN, ballot: BALLOT, role, output_digest: file.sha256, cast_at };
  const subject = [{ name: file.name, sha256: file.sha256 }];
  const predicate = { ...about, ...content } as never;
  const envelope = await authority.issue("vote", subject, predicate, "role", by);
  const { publicKey } = await authority.signer("role", by);
  const { keyId } = publicKey;
  return { envelope, cast: { role, keyId, envelope: digestOf(envelope), ...content } as CastVote };
}
