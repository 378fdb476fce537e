import { deepFreeze } from "../json/index.ts";
import { cutText } from "../text/index.ts";
import type { GateResult } from "../formats/index.ts";
import { EXECUTOR_GATES } from "./executor-gates.ts";
import type { Gate } from "./finding.ts";
import { GATE_DOCUMENTS, type GateInputs } from "./inputs.ts";
import { INTENT_GATES } from "./intent-gates.ts";
import { RUNTIME_GATES } from "./runtime-gates.ts";
import { TOOL_GATES } from "./tool-gates.ts";

const OF_ALL_RUNS: readonly Gate[] = [...INTENT_GATES, ...EXECUTOR_GATES, ...RUNTIME_GATES];

/** Every gate, in the order in which they are shown. */
export const GATES: readonly Gate[] = deepFreeze([...OF_ALL_RUNS, ...TOOL_GATES]);

/** Where the gates of tools stand: a release without it was judged before there were any. */
const TOOL_GATES_SOURCE = "packages/core/src/gates/tool-gates.ts";

/**
 * The gates that judge. Those of tools judge runs that a task pack was issued for, and sources that
 * hold them: what was judged before there were any is judged as it was then.
 */
function gatesFor({ tool, sources }: GateInputs): readonly Gate[] {
  const isSource = sources?.some((one) => one.path === TOOL_GATES_SOURCE) ?? false;
  return tool !== null || isSource ? GATES : OF_ALL_RUNS;
}

const MESSAGE_CHARS = 1000;

/**
 * Judge a run by its gates. Pure: who has the same documents and entries gets the same answer.
 */
export function evaluateGates(inputs: GateInputs): {
  status: "PASS" | "FAIL";
  results: GateResult[];
} {
  const results = gatesFor(inputs).map((gate) => resultOf(gate, inputs));
  const failed = results.some((one) => one.verdict === "fail");
  return { status: failed ? "FAIL" : "PASS", results };
}

function resultOf(gate: Gate, inputs: GateInputs): GateResult {
  const finding = gate.judge(inputs);
  if (!finding.applies) {
    return { gate: gate.id, verdict: "not_applicable", message: finding.why, evidence: [] };
  }
  const [first] = finding.problems;
  const message = first === undefined ? finding.holds : finding.problems.join("; ");
  return {
    gate: gate.id,
    verdict: first === undefined ? "pass" : "fail",
    message: cutText(message, MESSAGE_CHARS),
    evidence: evidenceOf(gate, inputs),
  };
}

/** The names of the artifacts that the gate read and that are there. */
function evidenceOf(gate: Gate, inputs: GateInputs): string[] {
  const names: Readonly<Record<string, string>> = GATE_DOCUMENTS;
  return gate.reads.flatMap((one) => {
    if (one === "patches") return [...inputs.patches.keys()].sort();
    const name = names[one];
    return name === undefined || inputs[one] === null ? [] : [name];
  });
}
