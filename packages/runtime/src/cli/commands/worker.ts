import type { Command } from "commander";
import { wholeNumber } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import type { WorkerEvent } from "../../services/index.ts";
import { oneLine } from "../output.ts";

const HELP = `
Runs of all tenants are carried out that were submitted with --no-wait: those of this data folder, and those
of other nodes that need nothing which lies in theirs alone, and whose role has a key here. What is left to
workers of other nodes is told. Ctrl-C ends the worker: runs at work get --drain seconds, and the rest is left
to other workers. A worker that is silent for --lease-seconds has lost its runs: others go on with them.`;

type Waiting = Extract<WorkerEvent, { event: "worker.leaves" }>["waiting"][number];

/** Carry out runs that wait. */
export function workerCommand(program: Command, context: CommandContext): void {
  const { services, output, signal } = context;
  program
    .command("worker")
    .description("carry out runs that were submitted with --no-wait, until Ctrl-C")
    .option("--concurrency <n>", "how many runs at once, 1 to 64", wholeNumber(1, 64), 4)
    .option(
      "--lease-seconds <n>",
      "after how much silence others take over",
      wholeNumber(2, 600),
      30,
    )
    .option(
      "--drain <seconds>",
      "how long runs at work go on after Ctrl-C, 0 to 3600",
      wholeNumber(0, 3600),
      30,
    )
    .addHelpText("after", HELP)
    .action(async (flags: { concurrency: number; leaseSeconds: number; drain: number }) => {
      const { concurrency, leaseSeconds, drain } = flags;
      const tell = (event: WorkerEvent): void => {
        if (output.json) output.printJson(event);
        else output.print(describe(event));
      };
      const times = { leaseMs: leaseSeconds * 1000, drainMs: drain * 1000 };
      await services.work({ concurrency, ...times, signal, tell });
    });
}

function describe(event: WorkerEvent): string {
  switch (event.event) {
    case "worker.started":
      return oneLine`${event.worker}: ${event.concurrency} runs at once`;
    case "worker.took": {
      const lost = event.lost_by === null ? "" : `, which ${event.lost_by} lost`;
      return oneLine`  ${event.run} of ${event.tenant}${lost}`;
    }
    case "worker.ended":
      return oneLine`  ${event.run} ${event.status}${event.reason === null ? "" : `: ${event.reason}`}`;
    case "worker.waits":
      return oneLine`  waits: ${event.reason}`;
    case "worker.leaves":
      if (event.waiting.length === 0) return "  nothing waits for workers of other nodes";
      return event.waiting.map(leaves).join("\n");
    case "worker.ending":
      return oneLine`ending: ${event.runs} runs at work are waited for`;
    case "worker.stopped":
      return oneLine`${event.worker}: stopped`;
  }
}

function leaves({ runs, node, contents, role }: Waiting): string {
  if (node !== null)
    return oneLine`  ${runs} runs wait for workers of node ${node}, which has what they need`;
  return oneLine`  ${runs} runs wait for workers with contents in ${contents ?? ""} and a key of the role ${role ?? ""}`;
}
