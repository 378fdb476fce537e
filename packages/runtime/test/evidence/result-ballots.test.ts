import { type JsonObject, judgeResultClaims, type ResultClaims } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import {
  type Ballot,
  both,
  COMMIT,
  compareWorld,
  GOOD,
  PATCH,
  TREE,
} from "../support/compare-evidence.ts";
import { judge, RESULT_ACCEPTANCE, VOTERS } from "../support/evidence.ts";

const ACCEPTANCE = { ...RESULT_ACCEPTANCE, gates: ["TL-A", "TL-B"] };
type Verdict = Required<ResultClaims>["gates"][number]["verdict"];
const gatesWith = (a: Verdict, b: Verdict): Pick<Required<ResultClaims>, "gates"> => ({
  gates: [
    { gate: "TL-A", verdict: a },
    { gate: "TL-B", verdict: b },
  ],
});

/** A sealed run with one ballot on an agent's result. */
async function held(ballot: Ballot): Promise<{
  status: string;
  faults: readonly { kind: string; envelopes: readonly string[] }[];
  verdict: string;
  envelopes: readonly string[];
}> {
  const { made, found, bundle } = await compareWorld(ballot);
  const whole = await bundle();
  const { verdict } = judge(whole, made.trustRoot());
  made.dispose();
  const { status, faulty } = found;
  return { status, faults: faulty, verdict, envelopes: Object.keys(whole.envelopes) };
}

const [FIRST = "", SECOND = ""] = VOTERS;

describe("the rule over claims", () => {
  const verdict = (claims: Partial<ResultClaims>): string | null =>
    judgeResultClaims({ ...GOOD, acceptance: ACCEPTANCE, ...claims });

  it("approves where each gate that was asked for holds, or is for later", () => {
    expect(verdict(gatesWith("pass", "pass"))).toBe("approve");
    expect(verdict(gatesWith("pass", "not_applicable"))).toBe("approve");
    expect(judgeResultClaims(GOOD as JsonObject)).toBe("approve");
  });

  it.each<[string, Partial<ResultClaims>]>([
    ["that fails", gatesWith("pass", "fail")],
    ["that does not apply and is not for later", gatesWith("not_applicable", "pass")],
    ["that was left out", { gates: gatesWith("pass", "pass").gates.slice(0, 1) }],
    ["list that is missing", {}],
    ["twice", { gates: [...gatesWith("pass", "pass").gates, { gate: "TL-A", verdict: "pass" }] }],
  ])("rejects by a gate %s", (_what, claims) => {
    expect(verdict(claims)).toBe("reject");
  });
});

describe("votes on an agent's result", () => {
  it.each<[string, Partial<ResultClaims>]>([
    ["a command that fails", { verify: [{ argv: ["npm", "test"], code: "ERR_COMMAND_FAILED" }] }],
    ["a command that was left out", { verify: [] }],
    ["another command", { verify: [{ argv: ["true"], code: null }] }],
    ["a change that policy does not allow", { scope: { refused: 1, first: "a" } }],
    ["nothing changed", { result: { ...GOOD.result, files_changed: 0 } }],
    ["another beginning", { result: { ...GOOD.result, base: COMMIT } }],
    [
      "another patch than the commit's",
      { artifacts: { result: { given: PATCH, derived: TREE.repeat(2).slice(0, 64) } } },
    ],
  ])("compel a rejection by %s", async (_what, claims) => {
    expect(await held({ votes: both(claims) })).toMatchObject({
      status: "SOVEREIGN_CONSENSUS_REFUSED",
      verdict: "VALID",
    });
  });

  it("are counted again by the verifier, as they were recorded", async () => {
    expect(await held({ votes: both() })).toMatchObject({
      status: "SOVEREIGN_CONSENSUS_REACHED",
      faults: [],
      verdict: "VALID",
    });
  });

  it("keep two conflicting votes of one key as evidence, and count neither", async () => {
    const other = { result: { ...GOOD.result, commit: TREE } };
    const votes = [...both(), { role: FIRST, claims: other }];
    const { status, faults, verdict, envelopes } = await held({ votes });
    expect({ status, verdict }).toEqual({ status: "BYZANTINE_ATTACK_DETECTED", verdict: "VALID" });
    const [fault] = faults;
    expect(fault).toMatchObject({ kind: "equivocation" });
    expect(fault?.envelopes.length).toBe(2);
    for (const one of fault?.envelopes ?? []) expect(envelopes).toContain(one);
  });

  it("name who says what its own claims contradict, and who speaks of another result", async () => {
    const failing = { verify: [{ argv: ["npm", "test"], code: "ERR_COMMAND_FAILED" }] };
    const lying = await held({
      votes: [{ role: FIRST }, { role: SECOND, claims: failing, verdict: "approve" }],
    });
    expect(lying.faults).toMatchObject([{ kind: "contradicts_itself" }]);
    const wrong = "f".repeat(64);
    const other = { artifacts: { result: { given: wrong, derived: wrong } } };
    const strange = await held({ votes: [{ role: FIRST }, { role: SECOND, claims: other }] });
    expect(strange.faults).toMatchObject([{ kind: "contradicts_known" }]);
    expect([lying.verdict, strange.verdict]).toEqual(["VALID", "VALID"]);
  });

  it.each<[string, Ballot]>([
    [
      "a quorum that was not reached",
      {
        votes: both({ verify: [] }),
        event: "consensus.reached",
        said: { status: "SOVEREIGN_CONSENSUS_REACHED" },
      },
    ],
    [
      "approvals that nobody gave",
      { votes: both({ verify: [] }), said: { approvals: [...VOTERS] } },
    ],
    ["a vote that is left out", { votes: [{ role: FIRST }] }],
    [
      "a fault that is left out",
      { votes: [...both(), { role: FIRST, claims: { seed: 1 } }], said: { faulty: [] } },
    ],
    [
      "another electorate than was signed",
      { votes: both(), said: { electorate: [FIRST], quorum: 1 } },
    ],
    ["a vote by another's key", { votes: [{ role: FIRST }, { role: SECOND, by: FIRST }] }],
  ])("are INVALID evidence with %s", async (_what, ballot) => {
    expect((await held(ballot)).verdict).toBe("INVALID");
  });
});
