import { cutText } from "@sovereign/core";
import type { RunReport } from "../../services/index.ts";
import { exitOf, oneLine, type Output } from "../output.ts";

/** The last lines name the run, the verdict and the files. */
export function report(output: Output, result: RunReport, next = "run resume"): number {
  const { runId, status, reason, code, bundle, trustRoot, verdict, observed } = result;
  if (output.json) {
    const found = observed.map((one) => ({ ...one }));
    const more = { verdict, bundle, trust_root: trustRoot, observed: found };
    output.printJson({ event: "run.ended", run: runId, status, reason, code, ...more });
  } else {
    output.print(oneLine`run: ${runId} ${status}${reason === null ? "" : oneLine`: ${reason}`}`);
    for (const line of linesOfObserved(runId, observed)) output.print(line);
    if (verdict !== null) output.print(oneLine`verdict: ${verdict}`);
    if (bundle !== null) output.print(oneLine`bundle: ${bundle}`);
    if (trustRoot !== null) output.print(oneLine`trust root: ${trustRoot}`);
    if (status === "pending") for (const line of nextOf(result, next)) output.print(line);
  }
  return status === "completed" || status === "queued" ? 0 : exitOf(code);
}

const OBSERVED_MAX = 3;

/** Nobody should take what is only observed for what is allowed. */
function linesOfObserved(runId: string, observed: RunReport["observed"]): string[] {
  if (observed.length === 0) return [];
  const first = observed.slice(0, OBSERVED_MAX);
  const others = observed.length - first.length;
  return [
    ...first.map(({ type, resource, why }) => {
      const what = `${type} on ${cutText(resource, 200)}`;
      return oneLine`observed: mode enforce would deny ${what}: ${why}`;
    }),
    ...(others > 0 ? [`observed: and ${others} more`] : []),
    `next: sovereign policy learn ${runId}`,
  ];
}

/** What a person types for a run that waits. */
function nextOf({ runId, code }: RunReport, resume: string): string[] {
  const after = `next: sovereign ${resume} ${runId}`;
  switch (code) {
    case "ERR_APPROVAL_REQUIRED":
      return [
        `next: sovereign run approve ${runId} --approver ROLE`,
        `then: sovereign ${resume} ${runId}`,
      ];
    case "ERR_REQUEST_BLOCKED":
      return [
        `next: sovereign answers create ${runId}`,
        `then: sovereign answers apply ${runId} answer_pack.json`,
      ];
    case "ERR_OUTCOME_UNKNOWN":
      return [`next: sovereign ${resume} ${runId} --retry-failed`];
    default:
      return [after];
  }
}
