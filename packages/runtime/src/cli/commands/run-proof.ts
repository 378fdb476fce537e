import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { table } from "../output.ts";
import type { RunProofReport, TraceReport } from "../../services/index.ts";

const PROOF_HELP = `
The evidence is judged anew, and every row of the run is held against it: nothing that a table says of
itself is believed. Exits 0 for VERIFIED, 4 for FAILED, and 1 for UNSUPPORTED: the run has not ended.`;

const EXITS = { VERIFIED: 0, FAILED: 4, UNSUPPORTED: 1 } as const;

/** `proof <run>`, of a run of any kind. */
export function addRunProof(parent: Command, context: CommandContext, tenant: () => string): void {
  const { services, output } = context;
  parent
    .command("proof <run>")
    .description("prove a run: recompute it from its steps, and compare with what was sealed")
    .addHelpText("after", PROOF_HELP)
    .action(async (runId: string) => {
      const report = await services.proveRun(tenant(), runId);
      context.exit = EXITS[report.integrity.verification_status];
      if (output.json) output.printJson(report);
      else output.print(describeProof(report));
    });
}

function describeProof({ run_id, integrity, steps }: RunProofReport): string {
  const { model, root_hash, chain_length, verification_status, failure_reason, place } = integrity;
  const lines = [
    `run: ${run_id}`,
    `verification: ${verification_status}`,
    ...(place === null ? [] : [`place: ${place}`]),
    ...(failure_reason === null ? [] : [`reason: ${failure_reason}`]),
    `model: ${model}`,
    `root: ${root_hash ?? "none"}`,
    `chain length: ${chain_length}`,
    `steps: ${steps.length}`,
  ];
  return lines.join("\n");
}

/** `trace <run>`, of a run of any kind. */
export function addRunTrace(
  parent: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  parent
    .command("trace <run>")
    .description("show a run's steps one by one: skill, attempt, status, time, and why")
    .action(async (runId: string) => {
      const report = await services.traceRun(tenant(), runId);
      if (output.json) output.printJson(report);
      else output.print(describeTrace(report));
    });
}

function describeTrace({ trace, steps }: TraceReport): string {
  const { trace_id, status, plan_digest, root_hash } = trace;
  const rows = steps.map((step) => [
    String(step.index),
    step.step_id,
    step.skill,
    String(step.attempt),
    step.code === null ? step.status : `${step.status} ${step.code}`,
    step.duration_ms === null ? "" : `${step.duration_ms} ms`,
    step.resource ?? "",
  ]);
  const head = ["#", "STEP", "SKILL", "ATTEMPT", "STATUS", "TIME", "RESOURCE"];
  return [
    `trace: ${trace_id} ${status}`,
    `plan: ${plan_digest}`,
    ...(root_hash === null ? [] : [`root: ${root_hash}`]),
    table([head, ...rows]),
  ].join("\n");
}
