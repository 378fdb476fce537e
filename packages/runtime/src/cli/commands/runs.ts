import { printableLines } from "@sovereign/core";
import { type Command, Option } from "commander";
import { wholeNumber } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";

import type { RunDetails, Services } from "../../services/index.ts";
import { addRunEnds } from "./run-ends.ts";
import { addRunProof, addRunTrace } from "./run-proof.ts";

type RunLog = Awaited<ReturnType<Services["readRunLogs"]>>[number];

const STATUSES = ["queued", "running", "pending", "completed", "failed", "halted"];
const KINDS = ["pipeline", "exec_request", "exec_rollback", "batch", "agent", "goal"];

interface ListFlags {
  readonly limit: number;
  readonly status?: string;
  readonly kind?: string;
}

/** `runs`: list and show runs of every kind. */
export function runsCommands(program: Command, context: CommandContext): void {
  const runs = program
    .command("runs")
    .description("list, show, cancel and retry runs of every kind");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  addRunLooks(runs, context, tenant);
  addRunEnds(runs, context, tenant);
}

/** These stand under `run`, too. */
export function addRunLooks(parent: Command, context: CommandContext, tenant: () => string): void {
  addRunList(parent, context, tenant);
  addRunShow(parent, context, tenant);
  addRunLog(parent, context, tenant);
  addRunTrace(parent, context, tenant);
  addRunProof(parent, context, tenant);
}

function addRunShow(
  parent: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  parent
    .command("show <run>")
    .description("show a run: its steps, its files, and the next command")
    .action(async (runId: string) => {
      const found = await services.showRun(tenant(), runId);
      if (output.json) output.printJson(asJson(found));
      else output.print(describe(found));
    });
}

function addRunLog(
  parent: Command,
  { services, output, signal }: CommandContext,
  tenant: () => string,
): void {
  parent
    .command("log <run>")
    .description("print what the commands of a run printed: first output, then errors")
    .option("--step <step>", "only of this step, or of this command of it, such as step_01.test")
    .option("--follow", "go on while the run does: each command's output once it has ended")
    .action(async (runId: string, flags: { step?: string; follow?: true }) => {
      const step = flags.step ?? null;
      const tell = (log: RunLog): void => {
        printLog(output, runId, log);
      };
      if (flags.follow) await services.followRunLogs(tenant(), runId, step, signal, tell);
      else (await services.readRunLogs(tenant(), runId, step)).forEach(tell);
    });
}

function printLog(
  output: CommandContext["output"],
  run: string,
  { step, name, path, sha256, bytes }: RunLog,
): void {
  const text = Buffer.from(bytes).toString("utf8");
  const about = { step, log: name, path, sha256, bytes: bytes.length };
  if (output.json) {
    output.printJson({ run, ...about, text });
    return;
  }
  output.note(oneLine`==> ${step}: ${bytes.length} bytes, ${path}`);
  if (text !== "") output.print(printableLines(text.replaceAll("\r\n", "\n").replace(/\n$/, "")));
}

function addRunList(
  parent: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  parent
    .command("list")
    .description("list runs of every kind, newest first")
    .option("--limit <count>", "how many runs to show, 1 to 1000", wholeNumber(1, 1000), 50)
    .addOption(new Option("--status <status>", "only runs with this status").choices(STATUSES))
    .addOption(new Option("--kind <kind>", "only runs of this kind").choices(KINDS))
    .action(async (flags: ListFlags) => {
      const rows = await services.listRuns(tenant(), {
        limit: flags.limit,
        status: flags.status ?? null,
        kind: flags.kind ?? null,
      });
      if (output.json) {
        for (const { runId, kind, name, status, mode, createdAt, reason } of rows) {
          const dated = { mode, created_at: createdAt, reason };
          output.printJson({ run: runId, kind, name, status, ...dated });
        }
        return;
      }
      const lines = rows.map((row) => [row.runId, row.kind, row.status, row.name, row.createdAt]);
      output.print(table([["RUN", "KIND", "STATUS", "NAME", "CREATED"], ...lines]));
    });
}

function asJson(found: RunDetails): Parameters<CommandContext["output"]["printJson"]>[0] {
  const { runId, kind, name, status, reason, mode, folder, bundle, next } = found;
  return {
    run: runId,
    kind,
    name,
    status,
    reason,
    mode,
    created_at: found.createdAt,
    updated_at: found.updatedAt,
    folder,
    request: found.request,
    bundle,
    trust_root: found.trustRoot,
    workers: found.workers,
    steps: found.steps.map((step) => ({ ...step })),
    next,
  };
}

function describe(found: RunDetails): string {
  const { runId, kind, name, status, reason, mode, steps, bundle, trustRoot, workers, next } =
    found;
  const lines = [
    ["run:", runId],
    ["kind:", kind],
    ["name:", name],
    ["status:", reason === null ? status : `${status}: ${reason}`],
    ["mode:", mode],
    ["created:", found.createdAt],
    ["updated:", found.updatedAt],
    ["folder:", found.folder],
    ...(found.request === null ? [] : [["request:", found.request]]),
    ...(bundle === null ? [] : [["bundle:", bundle]]),
    ...(trustRoot === null ? [] : [["trust root:", trustRoot]]),
    ...(workers === null ? [] : [["workers:", workers]]),
    ...(next === null ? [] : [["next:", next]]),
  ];
  const done = steps.map(({ step, status, attempt }) => [step, status, String(attempt)]);
  const below = done.length === 0 ? "" : `\n${table([["STEP", "STATUS", "ATTEMPT"], ...done])}`;
  return `${table(lines)}${below}`;
}
