import { canonicalize, digestOf, type JsonObject } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type CastVote,
  type ConsensusResult,
  judgeModelClaims,
  judgeVotes,
  quorumOf,
} from "../../src/pipeline/index.ts";
import { modelClaimsExample } from "./support/claims.ts";

const ROLES = ["planner", "validator", "executor", "oversight"];
const truth: JsonObject = { model: "aa", evaluation: { correct: 100, rows: 102 } };
const lie: JsonObject = { model: "aa", evaluation: { correct: 102, rows: 102 } };
const ballot = { electorate: ROLES };

function vote(role: string, claims: JsonObject = truth, changes: Partial<CastVote> = {}): CastVote {
  const content = {
    keyId: `key of ${role}`,
    role,
    verdict: "approve" as const,
    claims,
    ...changes,
  };
  return { envelope: digestOf(content), ...content };
}

function all(but: Record<string, CastVote | null> = {}): CastVote[] {
  return ROLES.map((role) => (Object.hasOwn(but, role) ? but[role] : vote(role))).filter(
    (one): one is CastVote => one !== null && one !== undefined,
  );
}

const kindsOf = (result: ConsensusResult): string[] =>
  result.faulty.map(({ role, kind }) => `${role} ${kind}`);

describe("judgeVotes", () => {
  it("finds consensus where all agree", () => {
    expect(judgeVotes(all(), ballot)).toEqual({
      status: "SOVEREIGN_CONSENSUS_REACHED",
      electorate: ROLES,
      quorum: 3,
      approvals: ROLES,
      rejections: [],
      claims: truth,
      claims_digest: digestOf(truth),
      faulty: [],
      silent: [],
    });
  });

  it("names one liar, the claim and both values, and goes on", () => {
    const result = judgeVotes(all({ validator: vote("validator", lie) }), ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REACHED");
    expect(result.approvals).toEqual(["planner", "executor", "oversight"]);
    expect(result.faulty).toEqual([
      {
        role: "validator",
        key_ids: ["key of validator"],
        envelopes: [vote("validator", lie).envelope],
        kind: "differs_from_quorum",
        differs: [{ claim: "evaluation.correct", claimed: 102, expected: 100 }],
      },
    ]);
  });

  it("finds drift, and blames nobody, where two and two disagree", () => {
    const votes = all({ validator: vote("validator", lie), planner: vote("planner", lie) });
    const result = judgeVotes(votes, ballot);
    expect(result.status).toBe("QUORUM_FAILURE_DRIFT_DETECTED");
    expect(result.claims).toBeNull();
    expect(result.faulty).toEqual([]);
  });

  it("finds drift where votes are missing, and names who was silent", () => {
    const result = judgeVotes(all({ planner: null, oversight: null }), ballot);
    expect(result.status).toBe("QUORUM_FAILURE_DRIFT_DETECTED");
    expect(result.silent).toEqual(["planner", "oversight"]);
  });

  it("refuses by quorum", () => {
    const votes = ROLES.map((role) => vote(role, truth, { verdict: "reject" }));
    const result = judgeVotes(votes, ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REFUSED");
    expect(result.rejections).toEqual(ROLES);
    expect(result.approvals).toEqual([]);
  });

  it("counts a repeated vote once", () => {
    const votes = [vote("planner"), vote("planner"), vote("planner"), vote("validator")];
    const result = judgeVotes(votes, ballot);
    expect(result.status).toBe("QUORUM_FAILURE_DRIFT_DETECTED");
    expect(result.faulty).toEqual([]);
  });

  it("shows an equivocation with both envelopes, and counts neither vote", () => {
    const second = vote("planner", lie);
    const result = judgeVotes([...all(), second], ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REACHED");
    expect(result.approvals).toEqual(["validator", "executor", "oversight"]);
    expect(kindsOf(result)).toEqual(["planner equivocation"]);
    expect(result.faulty[0]?.envelopes).toEqual([second.envelope, vote("planner").envelope].sort());
  });

  it("calls it an attack where an equivocation breaks the quorum", () => {
    const votes = [...all({ oversight: null }), vote("planner", truth, { verdict: "reject" })];
    expect(judgeVotes(votes, ballot).status).toBe("BYZANTINE_ATTACK_DETECTED");
  });

  it("counts one key once: two roles of one key count as none", () => {
    const keyId = "one key";
    const votes = all({
      planner: vote("planner", truth, { keyId }),
      validator: vote("validator", truth, { keyId }),
    });
    const result = judgeVotes(votes, ballot);
    expect(result.status).toBe("BYZANTINE_ATTACK_DETECTED");
    expect(kindsOf(result)).toEqual(["planner key_reused", "validator key_reused"]);
  });

  it("ignores who may not vote, and names them", () => {
    const result = judgeVotes([...all({ planner: null }), vote("stranger", lie)], ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REACHED");
    expect(kindsOf(result)).toEqual(["stranger outsider"]);
  });

  it("does not let a quorum overrule what control knows", () => {
    const known = { evaluation: { correct: 100 } };
    const votes = ROLES.map((role) => vote(role, lie));
    const result = judgeVotes(votes, { ...ballot, known });
    expect(result.status).toBe("BYZANTINE_ATTACK_DETECTED");
    expect(result.faulty).toHaveLength(4);
    expect(result.faulty[0]?.differs).toEqual([
      { claim: "evaluation.correct", claimed: 102, expected: 100 },
    ]);
  });

  it("computes the verdict itself", () => {
    const rule = (claims: JsonObject): "approve" | "reject" | null =>
      claims["model"] === "aa" ? "reject" : null;
    const votes = all({
      planner: vote("planner", truth, { verdict: "reject" }),
      oversight: vote("oversight", { model: "bb" }),
    });
    const result = judgeVotes(votes, { ...ballot, rule });
    expect(kindsOf(result)).toEqual([
      "executor contradicts_itself",
      "oversight claims_malformed",
      "validator contradicts_itself",
    ]);
    expect(result.status).toBe("BYZANTINE_ATTACK_DETECTED");
  });

  it("keeps its judgement small, whatever is claimed", () => {
    const flood = Object.fromEntries(
      Array.from({ length: 500 }, (_, n) => [`k${n}`, "x".repeat(999)]),
    );
    const result = judgeVotes(all({ planner: vote("planner", flood) }), ballot);
    expect(result.faulty[0]?.differs).toHaveLength(16);
    expect(canonicalize(result.faulty).length).toBeLessThan(4000);
  });

  it("needs everybody among one, two and three, and ⌊2n/3⌋ + 1 of more", () => {
    expect([1, 2, 3, 4, 5, 6, 7, 10].map(quorumOf)).toEqual([1, 2, 3, 3, 4, 5, 5, 7]);
  });

  it("reaches nothing with no voters", () => {
    expect(judgeVotes([], { electorate: [] }).status).toBe("QUORUM_FAILURE_DRIFT_DETECTED");
  });
});

describe("the properties of a ballot", () => {
  const claims = fc.constantFrom<JsonObject>(truth, lie, { model: "bb" }, {});
  const anyVote = fc
    .record({
      role: fc.constantFrom("r0", "r1", "r2", "r3", "r4", "r5", "r6", "stranger"),
      keyId: fc.constantFrom("k0", "k1", "k2", "k3", "k4", "k5", "k6"),
      verdict: fc.constantFrom<"approve" | "reject">("approve", "reject"),
      claims,
    })
    .map(({ role, ...rest }) => vote(role, rest.claims, rest));
  const roles = (n: number): string[] => Array.from({ length: n }, (_, index) => `r${index}`);

  it("is the same in any order", () => {
    const shuffled = fc
      .array(anyVote, { maxLength: 12 })
      .chain((votes) =>
        fc.tuple(
          fc.constant(votes),
          fc.shuffledSubarray(votes, { minLength: votes.length, maxLength: votes.length }),
        ),
      );
    fc.assert(
      fc.property(shuffled, fc.integer({ min: 1, max: 7 }), ([left, right], n) => {
        const ballotOfN = { electorate: roles(n) };
        expect(judgeVotes(right, ballotOfN)).toEqual(judgeVotes(left, ballotOfN));
      }),
      { numRuns: 500 },
    );
  });

  it("reaches what the honest claim, whatever up to n − quorum others do", () => {
    const scene = fc.integer({ min: 1, max: 7 }).chain((n) => {
      const liars = roles(n).slice(0, n - quorumOf(n));
      const byLiar = fc
        .tuple(fc.constantFrom(...liars, "stranger"), anyVote)
        .map(([role, one]) =>
          vote(role, one.claims, { verdict: one.verdict, keyId: `key of ${role}` }),
        );
      return fc.tuple(fc.constant(n), fc.array(byLiar, { maxLength: 8 }));
    });
    fc.assert(
      fc.property(scene, ([n, lies]) => {
        const honest = roles(n)
          .slice(n - quorumOf(n))
          .map((role) => vote(role));
        const result = judgeVotes([...lies, ...honest], { electorate: roles(n) });
        expect(result.status).toBe("SOVEREIGN_CONSENSUS_REACHED");
        expect(result.claims).toEqual(truth);
      }),
      { numRuns: 500 },
    );
  });

  it("never reaches a claim with fewer than a quorum of distinct keys for it", () => {
    fc.assert(
      fc.property(
        fc.array(anyVote, { maxLength: 14 }),
        fc.integer({ min: 1, max: 7 }),
        (votes, n) => {
          const result = judgeVotes(votes, { electorate: roles(n) });
          if (result.claims === null) return;
          const wanted = canonicalize(result.claims);
          const keys = votes
            .filter((one) => canonicalize(one.claims) === wanted)
            .map(({ keyId }) => keyId);
          expect(new Set(keys).size).toBeGreaterThanOrEqual(quorumOf(n));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("judgeModelClaims", () => {
  const good = modelClaimsExample();

  it("approves a good model", () => {
    expect(judgeModelClaims(good)).toBe("approve");
  });

  it.each([
    ["a licence that is not accepted", { dataset: { ...good.dataset, licence: "proprietary" } }],
    [
      "a model that does not follow",
      {
        artifacts: { ...good.artifacts, model: { given: "1".repeat(64), derived: "2".repeat(64) } },
      },
    ],
    ["a training that does not repeat", { checks: { ...good.checks, training_repeats: false } }],
    ["a row in both halves", { checks: { ...good.checks, rows_in_both: 1 } }],
    ["a row in neither half", { checks: { ...good.checks, rows_in_neither: 1 } }],
    ["readers that differ", { checks: { ...good.checks, reader_differences: 1 } }],
    ["too low an accuracy", { acceptance: { ...good.acceptance, min_accuracy: 0.99 } }],
    ["too low a recall", { acceptance: { ...good.acceptance, min_class_recall: 0.95 } }],
    ["too small a gain", { acceptance: { ...good.acceptance, min_gain_over_majority: 0.9 } }],
    [
      "a class that was never tested",
      {
        evaluation: {
          ...good.evaluation,
          rows: 82,
          correct: 82,
          confusion: [
            [45, 0, 0],
            [0, 0, 0],
            [0, 0, 37],
          ],
        },
      },
    ],
  ])("rejects %s", (_name, change) => {
    expect(judgeModelClaims({ ...good, ...change })).toBe("reject");
  });

  it.each([
    ["an unknown claim", { more: 1 }],
    ["a missing claim", { seed: null }],
    ["a digest that is none", { dataset: { ...good.dataset, digest: "x" } }],
    ["counts that do not add up", { evaluation: { ...good.evaluation, correct: 102 } }],
    ["rows that do not add up", { evaluation: { ...good.evaluation, rows: 103 } }],
    [
      "a matrix that is not square",
      { evaluation: { ...good.evaluation, confusion: [[100, 2], [0]] } },
    ],
    ["negative counts", { checks: { ...good.checks, rows_in_both: -1 } }],
  ])("does not read %s", (_name, change) => {
    expect(judgeModelClaims({ ...good, ...change })).toBeNull();
  });
});
