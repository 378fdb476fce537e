import { describe, expect, it } from "vitest";
import {
  evaluateGates,
  GATES,
  gateInputDigests,
  isGateInput,
  type PlacedEntry,
  readGateInputs,
  utf8Encode,
} from "@sovereign/core";
import {
  ANSWERS,
  asked,
  both,
  changed,
  denied,
  type Edit,
  everyFile,
  good,
  id,
  linked,
  none,
  nothingRan,
  PATCH,
  proof,
  result,
  reviewed,
  rolledBack,
  sha,
  source,
  unknown,
} from "./support/inputs.ts";

function verdictOf(gate: string, edit: Edit): string {
  const inputs = good();
  edit(inputs);
  const found = evaluateGates(inputs).results.find((one) => one.gate === gate);
  return found?.verdict ?? "missing";
}

const WORKFLOW = ".github/workflows/ci.yml";
/** Every decision of this dialect. */
const of =
  (dialect: 1 | 2 | 3 | 4): Edit =>
  (i) => {
    i.actions = i.actions.map((one) => ({ ...one, dialect }));
  };
const DENIED = ["execution.denied", "ERR_ACTION_UNKNOWN"] as const;

describe("the gates", () => {
  const cases: [string, string, Edit, string][] = [
    ["A1", "pass", both(asked("BLOCKED", null), nothingRan), "blocked and nothing ran"],
    ["A1", "fail", asked("BLOCKED", null), "blocked and it ran"],
    ["A2", "pass", asked("RESUMED", ANSWERS), "resumed with its answers"],
    ["A2", "fail", asked("RESUMED", null), "resumed without answers"],
    ["A3", "pass", asked("RESUMED", ANSWERS), "every question answered"],
    ["A3", "not_applicable", asked("READY", null), "questions that could stay open"],
    [
      "A3",
      "fail",
      asked("RESUMED", { ...ANSWERS, answers: ANSWERS.answers.slice(0, 1) }),
      "a question open that did not block",
    ],
    ["A3", "fail", asked("RESUMED", { ...ANSWERS, answers: [] }), "a question open"],
    [
      "A3",
      "fail",
      asked("RESUMED", { ...ANSWERS, answers: [{ ...ANSWERS.answers[0], evidence_refs: [] }] }),
      "an answer without references",
    ],
    ["EX-A", "pass", none, "every operation authorised"],
    [
      "EX-A",
      "fail",
      (i) => {
        i.actions = i.actions.slice(1);
      },
      "an operation that the ledger does not have",
    ],
    [
      "EX-A",
      "fail",
      (i) => {
        i.tape = i.tape!.map((one) => ({ ...one, details: { ...one.details, type: "unknown.x" } }));
      },
      "an operation of no type",
    ],
    ["EX-A", "pass", changed("src/a.ts"), "a file like any other changed"],
    ["EX-A", "pass", changed(WORKFLOW, [WORKFLOW], ["ci:.github/**"]), "a workflow, with leave"],
    ["EX-A", "fail", changed(WORKFLOW), "a workflow that no decision was on"],
    ["EX-A", "fail", changed(WORKFLOW, [WORKFLOW], ["operation:git.commit"]), "no leave for it"],
    ["EX-A", "fail", changed(WORKFLOW, ["a/Jenkinsfile"], ["ci:**"]), "leave for another"],
    ["EX-A", "fail", changed(".gitattributes", [".gitattributes"], ["ci:**"]), "git's own changed"],
    ["EX-A", "fail", changed(".vscode/tasks.json"), "an editor's tasks, that no decision was on"],
    [
      "EX-A",
      "pass",
      both(changed(".vscode/tasks.json"), of(1)),
      "the same, before there was a table",
    ],
    ["EX-A", "fail", both(changed(WORKFLOW), of(1)), "a workflow, then, too"],
    [
      "EX-A",
      "fail",
      both(changed("settings/env"), linked([".envrc", "l"], ["l", "settings/env"])),
      "a file that a link of a shell's name leads to",
    ],
    [
      "EX-A",
      "pass",
      both(
        changed("settings/env", ["settings/env"], ["ci:**"]),
        linked([".envrc", "settings/env"]),
      ),
      "the same, with leave",
    ],
    ["EX-A", "pass", both(changed("settings/env"), linked()), "the same without a link"],
    [
      "EX-A",
      "fail",
      both(changed("tools"), linked(["tools", "x"], [".claude", "tools"])),
      "a link that such a link leads through",
    ],
    ["EX-A", "fail", changed(".hg/hgrc", [".hg/hgrc"], ["ci:**"]), "another repository left"],
    [
      "EX-B",
      "pass",
      source("packages/runtime/src/process/raw-launch.ts"),
      "processes started where they may be",
    ],
    ["EX-B", "fail", source("packages/runtime/src/executor/run.ts"), "processes started elsewhere"],
    ["EX-C", "pass", none, "work apart"],
    ["EX-C", "fail", proof({ is_worktree: false }), "no work tree"],
    ["EX-C", "fail", proof({ main_repo_modified: true }), "the branch modified"],
    [
      "EX-C",
      "fail",
      (i) => {
        i.sandboxProof = null;
      },
      "no proof",
    ],
    ["EX-D", "pass", none, "all commits back"],
    ["EX-D", "fail", proof({ commits_brought_back: [] }), "a commit missing"],
    ["EX-E", "pass", none, "each start with its end"],
    [
      "EX-E",
      "fail",
      (i) => {
        i.tape = i.tape!.filter((one) => one.event !== "step_end");
      },
      "a start without an end",
    ],
    [
      "EX-E",
      "fail",
      (i) => {
        i.tape = i.tape!.map((one) => ({ ...one, details: {} }));
      },
      "an end without checksums",
    ],
    ["EX-F", "pass", rolledBack({}), "everything restored"],
    ["EX-F", "fail", rolledBack({ checksums_match: false }), "checksums differ"],
    ["EX-F", "fail", rolledBack({ checksums_verified: 1 }), "a file unverified"],
    ["EX-F", "fail", rolledBack({ after_head: id("1") }), "the branch elsewhere"],
    ["EX-F", "pass", everyFile({}), "every file as it should be"],
    ["EX-F", "fail", everyFile({ as_base: 1 }), "a file that nobody looked at"],
    ["EX-F", "fail", everyFile({ as_base: 0, converted: 3 }), "more converted than restored"],
    ["EX-F", "fail", everyFile({ kept_unchanged: false }), "an edit of the user's lost"],
    [
      "EX-F",
      "fail",
      everyFile({ kept: [{ path: "src/a.ts", mode: "100644", sha256: sha("2") }] }),
      "a restored file that is not the base's",
    ],
    ["EX-G", "pass", reviewed("step_up", 1), "approved"],
    ["EX-G", "fail", reviewed("allow", 0), "never asked"],
    ["EX-G", "fail", reviewed("step_up", 0), "nobody approved"],
    ["EX-H", "pass", none, "the baseline complete"],
    ["EX-H", "fail", result({ request_digest: sha("0") }), "another request"],
    [
      "EX-H",
      "fail",
      (i) => {
        i.artifacts = new Map();
      },
      "a patch missing",
    ],
    ["EX-H", "fail", result({ steps_planned: 2 }), "a step missing"],
    ["R1", "pass", denied, "denied, recorded, stopped"],
    [
      "R1",
      "fail",
      both(denied, (i) => {
        i.refusals = [];
      }),
      "a denial that the ledger does not have",
    ],
    [
      "R1",
      "fail",
      both(denied, (i) => {
        i.actions = good().actions;
      }),
      "commits although denied",
    ],
    ["R2", "pass", none, "a line from the base"],
    [
      "R2",
      "fail",
      (i) => {
        i.tape = i.tape!.filter((one) => one.event !== "worktree_created");
      },
      "no work tree on the tape",
    ],
    ["R2", "fail", result({ head_commit: id("7") }), "the branch at another commit"],
    ["R3", "pass", none, "every file with its digest"],
    [
      "R3",
      "fail",
      (i) => {
        i.artifacts = new Map([["execution_result.json", sha("0")]]);
      },
      "a file with another digest",
    ],
    [
      "R3",
      "fail",
      (i) => {
        i.tape = null;
      },
      "no tape",
    ],
    ["R4", "pass", none, "an unbroken custody"],
    [
      "R4",
      "fail",
      (i) => {
        i.actions = i.actions.map((one) =>
          one.type === "git.commit" ? { ...one, output: { commit: id("8") } } : one,
        );
      },
      "another commit in the ledger",
    ],
    [
      "R4",
      "fail",
      (i) => {
        i.actions = i.actions.slice(0, 2);
      },
      "no bring-back in the ledger",
    ],
    ["P0-N1", "pass", unknown(DENIED), "unknown and denied"],
    ["P0-N1", "pass", unknown(["execution.denied", "ERR_POLICY_DENIED"]), "denied by policy"],
    ["P0-N1", "pass", unknown(["execution.aborted", "ERR_SCRAM_TRIPPED"]), "stopped before"],
    ["P0-N1", "fail", unknown(null), "unknown and done"],
    ["P0-N1", "fail", unknown(null, "git.bring_back"), "done in the runtime's own name"],
    [
      "P0-N1",
      "fail",
      both(unknown(DENIED), (i) => {
        i.refusals = [{ ...i.refusals[0]!, stepId: "step_01.op_1" }];
      }),
      "another's refusal",
    ],
    [
      "P0-N1",
      "fail",
      (i) => {
        i.actions = i.actions.map((one, at) => (at === 0 ? { ...one, type: "model.train" } : one));
      },
      "an operation that is none in the ledger alone",
    ],
    ["P0-N2", "pass", none, "commits that name their request"],
    [
      "P0-N2",
      "fail",
      (i) => {
        i.patches = new Map([
          ["patches/step_01.patch", PATCH.replace("Sovereign-Step: step_01", "Other")],
        ]);
      },
      "a commit that does not",
    ],
    [
      "P0-N2",
      "fail",
      (i) => {
        i.patches = new Map([
          [
            "patches/step_01.patch",
            PATCH.replace("Sovereign-Request", "x").replace(
              "diff --git",
              "---\ndiff --git x\n+Sovereign-Request",
            ),
          ],
        ]);
      },
      "a name in the diff alone",
    ],
    ["P-G", "pass", none, "the user's own as it was"],
    ["P-G", "fail", proof({ main_repo_status_after: sha("7") }), "the user's own changed"],
  ];
  it.each(cases)("%s: %s with %s", (gate, verdict, edit) => {
    expect(verdictOf(gate, edit)).toBe(verdict);
  });

  it("each have a case that passes and one that fails", () => {
    const having = (verdict: string): Set<string> =>
      new Set(cases.filter((one) => one[1] === verdict).map(([gate]) => gate));
    // Those of tools are judged over a run's entries: see the runtime's tests of its evidence.
    const own = GATES.map((gate) => gate.id).filter((id) => !id.startsWith("TL-"));
    const all = new Set(own);
    expect(having("pass")).toEqual(all);
    expect(having("fail")).toEqual(all);
  });

  it("say which documents they rest on, and fail together when one fails", () => {
    const { status, results } = evaluateGates(good());
    expect(status).toBe("PASS");
    expect(results.find((one) => one.gate === "EX-H")?.evidence).toContain("execution_result.json");
    const broken = { ...good(), tape: null };
    expect(evaluateGates(broken).status).toBe("FAIL");
  });

  it("judge nothing where nothing was executed", () => {
    const { status, results } = evaluateGates(readGateInputs(new Map(), []));
    expect(status).toBe("PASS");
    expect(new Set(results.map((one) => one.verdict))).toEqual(new Set(["not_applicable"]));
  });

  it.each([
    [2, ["alice", "bob"], ["1", "2"]],
    [1, ["alice", "bob"], ["1", "1"]],
    [1, ["alice", "a1ice"], ["1", "2"]],
    [1, ["alice", "a1ice", "bob"], ["1"]],
    [0, [], ["1", "2"]],
  ])("count %i approvals of %j by the envelopes %j", (approvals, roles, envelopes) => {
    const data = {
      action: { type: "git.bring_back", resource: "refs/heads/main", params: {} },
      context: { step_id: "bring_back", attempt: 1 },
      decision: { effect: "step_up", rules: [], approvals: { required: 2, roles } },
      envelopes: Object.fromEntries(envelopes.map((one, at) => [`approval_${at + 1}`, sha(one)])),
    };
    const entry = { event_type: "execution.authorized", data };
    const entries = [{ index: 0, hash: sha("0"), entry }] as unknown as PlacedEntry[];
    expect(readGateInputs(new Map(), entries).actions).toMatchObject([{ approvals }]);
  });

  it("refuse a document that is not of its format", () => {
    const bytes = utf8Encode('{"status":"READY"}');
    expect(() => readGateInputs(new Map([["01_intent/status.json", bytes]]), [])).toThrow(
      /01_intent\/status.json/,
    );
  });

  it("take the digests of what they read, and of nothing else", () => {
    const contents = new Map([
      ["audit/run_tape.jsonl", utf8Encode("")],
      ["03_executor/logs/x.log", utf8Encode("x")],
    ]);
    expect(Object.keys(gateInputDigests(contents))).toEqual(["audit/run_tape.jsonl"]);
    expect(isGateInput("patches/step_01.patch")).toBe(true);
    expect(isGateInput("patches/../step_01.patch")).toBe(false);
  });
});
