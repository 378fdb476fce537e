import { digestOf } from "../digest/index.ts";
import type { JsonObject, JsonValue } from "../formats/index.ts";
import { canonicalize } from "../json/index.ts";
import { type ClaimDifference, differencesOf } from "./claim-differences.ts";

/**
 * One vote whose signature was verified before: `keyId` is the key that really signed it, and
 * `role` is a role of that key. `envelope` is the digest of the signed envelope.
 */
export interface CastVote {
  readonly role: string;
  readonly keyId: string;
  readonly envelope: string;
  readonly verdict: "approve" | "reject";
  readonly claims: JsonObject;
}

export interface Ballot {
  /** The roles that may vote, without repeats; its length is n. */
  readonly electorate: readonly string[];
  /** The verdict that claims compel; null when the claims have not the form that it reads. */
  readonly rule?: (claims: JsonObject) => "approve" | "reject" | null;
  /** Claims that control knows by itself, such as the digest of the model that it will promote. */
  readonly known?: JsonObject;
}

export type ConsensusStatus =
  /** A quorum made equal claims, and those compel approval. */
  | "SOVEREIGN_CONSENSUS_REACHED"
  /** A quorum made equal claims, and those compel rejection. */
  | "SOVEREIGN_CONSENSUS_REFUSED"
  /** No quorum, and somebody provably cheated. */
  | "BYZANTINE_ATTACK_DETECTED"
  /** No quorum: too few votes, or votes that drift apart. */
  | "QUORUM_FAILURE_DRIFT_DETECTED";

export type FaultKind =
  /** The role is not in the electorate. */
  | "outsider"
  /** Two different votes for one role: the envelopes are portable evidence. */
  | "equivocation"
  /** One key signed for two roles. */
  | "key_reused"
  /** The claims contradict what control knows. */
  | "contradicts_known"
  /** The claims have not the form that the rule reads. */
  | "claims_malformed"
  /** The claims compel another verdict than the one given. */
  | "contradicts_itself"
  /** The claims are not those of the quorum. */
  | "differs_from_quorum";

/** A named fault. `differs` holds at most 16 claims, with long values replaced by digests. */
export type Fault = {
  role: string;
  key_ids: string[];
  envelopes: string[];
  kind: FaultKind;
  differs: ClaimDifference[];
};

/** The judgement of a ballot: plain JSON, so that it is recorded as it is. */
export type ConsensusResult = {
  status: ConsensusStatus;
  electorate: string[];
  /** ⌊2n/3⌋ + 1. */
  quorum: number;
  /** The roles that made the quorum's claims and approved, in the electorate's order. */
  approvals: string[];
  /** The roles that made the quorum's claims and rejected. */
  rejections: string[];
  /** What the quorum claims; null without one. */
  claims: JsonObject | null;
  claims_digest: string | null;
  faulty: Fault[];
  /** Roles that did not vote. */
  silent: string[];
};

/** Faults that nobody commits by accident: they prove that a key's holder cheats. */
const PROOF_OF_CHEATING: readonly FaultKind[] = [
  "equivocation",
  "key_reused",
  "contradicts_known",
  "contradicts_itself",
];

/** The votes that decide among `n` voters when up to a third of them may lie: ⌊2n/3⌋ + 1. */
export function quorumOf(n: number): number {
  return Math.floor((2 * n) / 3) + 1;
}

/**
 * Judge a ballot. Pure: the same votes in any order give the same result.
 *
 * One key has one vote, and a role has one: a repeat of the same vote counts once, two different
 * votes count as none. A vote counts for its claims only where it is consistent in itself and
 * with what control knows. Equal claims are equal in their canonical bytes. With at most n − quorum
 * liars, no two quorums can differ, for they would share an honest voter.
 */
export function judgeVotes(votes: readonly CastVote[], ballot: Ballot): ConsensusResult {
  const electorate = [...new Set(ballot.electorate)];
  const quorum = quorumOf(electorate.length);
  const { sound, faulty: odd } = siftVotes(votes, ballot);
  const winner = groupsOf(sound).find((group) => group.length >= quorum) ?? [];
  const claims = winner[0]?.claims ?? null;
  const faulty = claims === null ? odd : [...odd, ...dissentersFrom(claims, winner, sound)];
  const voted = new Set(votes.map((vote) => vote.role));
  const approvals = rolesOf(winner, "approve", electorate);
  const rejections = rolesOf(winner, "reject", electorate);
  return {
    status: statusOf(approvals.length, rejections.length, quorum, faulty),
    electorate,
    quorum,
    approvals,
    rejections,
    claims,
    claims_digest: claims === null ? null : digestOf(claims),
    faulty: faulty
      .map((fault) => explained(fault, votes, claims, ballot.known))
      .sort((left, right) => compare(keyOf(left), keyOf(right))),
    silent: electorate.filter((role) => !voted.has(role)),
  };
}

type Unexplained = Omit<Fault, "differs">;

/** Votes that may count, one for a role, and the faults of the others. */
function siftVotes(
  votes: readonly CastVote[],
  ballot: Ballot,
): { sound: CastVote[]; faulty: Unexplained[] } {
  const sound: CastVote[] = [];
  const faulty: Unexplained[] = [];
  const rolesOfKey = new Map<string, Set<string>>();
  for (const { keyId, role } of votes) {
    rolesOfKey.set(keyId, (rolesOfKey.get(keyId) ?? new Set()).add(role));
  }
  for (const role of [...new Set(votes.map((vote) => vote.role))].sort(compare)) {
    const cast = votes.filter((vote) => vote.role === role).sort(byEnvelope);
    const kind = faultOf(cast, ballot, (keyId) => (rolesOfKey.get(keyId)?.size ?? 0) > 1);
    const [vote] = cast;
    if (kind !== null) faulty.push(faultFrom(kind, cast));
    else if (vote !== undefined) sound.push(vote);
  }
  return { sound, faulty };
}

/** What is wrong with all the votes of one role, the gravest first; null when they count as one. */
function faultOf(
  cast: readonly CastVote[],
  ballot: Ballot,
  isReused: (keyId: string) => boolean,
): FaultKind | null {
  const [vote] = cast;
  if (vote === undefined) return null;
  if (!ballot.electorate.includes(vote.role)) return "outsider";
  if (cast.some(({ keyId }) => isReused(keyId))) return "key_reused";
  if (new Set(cast.map(contentOf)).size > 1) return "equivocation";
  const { known, rule } = ballot;
  if (known !== undefined && differencesOf(vote.claims, known, "known").length > 0) {
    return "contradicts_known";
  }
  if (rule === undefined) return null;
  const compelled = rule(vote.claims);
  if (compelled === null) return "claims_malformed";
  return compelled === vote.verdict ? null : "contradicts_itself";
}

/** Votes of equal claims and verdict together. At most one group can have a quorum. */
function groupsOf(votes: readonly CastVote[]): CastVote[][] {
  const groups = new Map<string, CastVote[]>();
  for (const vote of votes) {
    const content = contentOf(vote);
    const group = groups.get(content);
    if (group === undefined) groups.set(content, [vote]);
    else group.push(vote);
  }
  return [...groups.values()];
}

function dissentersFrom(
  claims: JsonObject,
  winner: readonly CastVote[],
  sound: readonly CastVote[],
): Unexplained[] {
  const wanted = canonicalize(claims);
  return sound
    .filter((vote) => !winner.includes(vote) && canonicalize(vote.claims) !== wanted)
    .map((vote) => faultFrom("differs_from_quorum", [vote]));
}

function statusOf(
  approvals: number,
  rejections: number,
  quorum: number,
  faulty: readonly Unexplained[],
): ConsensusStatus {
  if (approvals >= quorum) return "SOVEREIGN_CONSENSUS_REACHED";
  if (rejections >= quorum) return "SOVEREIGN_CONSENSUS_REFUSED";
  const cheated = faulty.some(({ kind }) => PROOF_OF_CHEATING.includes(kind));
  return cheated ? "BYZANTINE_ATTACK_DETECTED" : "QUORUM_FAILURE_DRIFT_DETECTED";
}

/** Name the claims: against the quorum's where there is one, else against what control knows. */
function explained(
  fault: Unexplained,
  votes: readonly CastVote[],
  claims: JsonObject | null,
  known: JsonObject | undefined,
): Fault {
  const vote = votes.find(({ envelope }) => envelope === fault.envelopes[0]);
  if (vote === undefined) return { ...fault, differs: [] };
  if (claims !== null) return { ...fault, differs: differencesOf(vote.claims, claims, "all") };
  return { ...fault, differs: differencesOf(vote.claims, known ?? {}, "known") };
}

function faultFrom(kind: FaultKind, cast: readonly CastVote[]): Unexplained {
  return {
    role: cast[0]?.role ?? "",
    key_ids: [...new Set(cast.map(({ keyId }) => keyId))].sort(compare),
    envelopes: [...new Set(cast.map(({ envelope }) => envelope))].sort(compare),
    kind,
  };
}

function rolesOf(
  votes: readonly CastVote[],
  verdict: CastVote["verdict"],
  electorate: readonly string[],
): string[] {
  const own = votes.filter((vote) => vote.verdict === verdict);
  const roles = new Set(own.map((vote) => vote.role));
  return electorate.filter((role) => roles.has(role));
}

function contentOf(vote: CastVote): string {
  const content: JsonValue = { verdict: vote.verdict, claims: vote.claims };
  return canonicalize(content);
}

function keyOf(fault: Fault): string {
  return `${fault.role}\n${fault.kind}`;
}

function byEnvelope(left: CastVote, right: CastVote): number {
  return compare(left.envelope, right.envelope);
}

function compare(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
