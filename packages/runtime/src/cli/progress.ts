import { printable } from "@sovereign/core";
import type { AgentProgress } from "../coding/index.ts";
import type { ExecProgress } from "../executor/index.ts";
import type { Progress } from "../pipeline/index.ts";
import type { GoalProgress } from "../services/index.ts";
import { agentLine, isAgentProgress } from "./agent-progress.ts";
import { goalLine, isGoalProgress } from "./goal-progress.ts";
import type { Output } from "./output.ts";

/** Plain lines as a run goes on; with `--json`, one event a line on standard output. */
export function showProgress(
  output: Output,
): (progress: Progress | ExecProgress | AgentProgress | GoalProgress) => void {
  if (output.json) {
    return (progress) => {
      output.printJson(progress);
    };
  }
  const paint: Paint = (code, text) => (output.colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const quiet = new Silence(output);
  return (progress) => {
    if (isGoalProgress(progress)) output.note(goalLine(progress, paint));
    else if (isAgentProgress(progress)) output.note(agentLine(progress, paint));
    else output.note(lineOf(progress, paint));
    quiet.begins();
  };
}

const TELL_MS = 2000;

/** Tells of work with many small steps at times, for who waits. */
export function tellAtTimes<T>(
  output: Output,
  textOf: (progress: T) => string,
): (progress: T) => void {
  let last = performance.now();
  return (progress) => {
    const now = performance.now();
    if (now - last < TELL_MS) return;
    last = now;
    if (output.json) output.printJson(progress);
    else output.note(textOf(progress));
  };
}

const SILENCE_MS = 15_000;

/** Tells that the work goes on where nothing was told for a while. */
class Silence {
  readonly #output: Output;
  #timer: NodeJS.Timeout | null = null;
  #from = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  begins(): void {
    this.#from = performance.now();
    this.#timer ??= setInterval(() => {
      const silent = performance.now() - this.#from;
      if (silent < SILENCE_MS) return;
      this.#output.note(`     … at work for ${Math.round(silent / 1000)} s`);
    }, SILENCE_MS).unref();
    this.#timer.refresh();
  }
}

type Paint = (code: number, text: string) => string;

function lineOf(progress: Progress | ExecProgress, paint: Paint): string {
  switch (progress.event) {
    case "run.started":
      return `${printable(progress.name)}: ${progress.stages} stages, run ${progress.run}`;
    case "run.resumed":
      return `${printable(progress.name)}: run ${progress.run} goes on`;
    case "stage.started":
      return `  ${progress.number}. ${printable(progress.stage)} (${progress.type})`;
    case "stage.completed":
      return `     ${paint(32, "done")} in ${Math.round(progress.ms)} ms: ${printable(progress.detail)}`;
    case "agent.faulty":
      return `     ${paint(31, "faulty")} ${printable(progress.role)}: ${printable(progress.detail)}`;
    case "approval.needed":
      return `     ${printable(progress.reason)}`;
    case "approval.given":
      return `     approved by ${printable(progress.role)}`;
    default:
      return execLineOf(progress, paint);
  }
}

function execLineOf(progress: ExecProgress, paint: Paint): string {
  switch (progress.event) {
    case "keys.enrolled":
      return enrolledText(progress);
    case "exec.started":
      return `${counted(progress.steps, "step")}, run ${progress.run}`;
    case "step.started":
      return `  ${printable(progress.step)}: ${counted(progress.operations, "operation")}`;
    case "step.completed": {
      const made = `${progress.commit.slice(0, 12)}: ${counted(progress.files, "file")}`;
      return `     ${paint(32, "committed")} ${made}`;
    }
    case "step.unchanged":
      return `     ${paint(32, "done")}: nothing changed, no commit`;
    case "exec.unchanged":
      return "  nothing to bring back";
    case "command.failed":
      return failedText(progress);
    case "exec.brought_back":
      return broughtBackText(progress);
    case "rollback.proved":
      return provedText(progress);
  }
}

function enrolledText({ keys }: Extract<ExecProgress, { event: "keys.enrolled" }>): string {
  return keys
    .map(({ purpose, role, key_id }) => {
      const what = purpose === "approval" ? "the approver" : "the role";
      return `first use: enrolled a key for ${what} ${role} (${key_id.slice(0, 12)})`;
    })
    .join("\n");
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** The end of what it said, and where all of it is. */
function failedText({
  step,
  log,
  bytes,
  lines,
}: Extract<ExecProgress, { event: "command.failed" }>): string {
  if (bytes === 0) return `     ${step} failed, and printed nothing`;
  return [
    `     ${step} failed. The end of its output:`,
    ...lines.map((line) => `     | ${printable(line)}`),
    `     all of it (${bytes} bytes): ${log}`,
  ].join("\n");
}

function broughtBackText({
  commits,
  head,
  kept,
}: Extract<ExecProgress, { event: "exec.brought_back" }>): string {
  const back = `  ${counted(commits, "commit")} brought back: ${head.slice(0, 12)}`;
  return [back, ...keptLines(kept)].join("\n");
}

function provedText({
  run,
  base,
  tree,
  files,
  kept,
}: Extract<ExecProgress, { event: "rollback.proved" }>): string {
  return [
    `  ${run} is undone: ${counted(files, "file")} changed back`,
    `  proved: the branch is at ${base.slice(0, 12)}, and each file of tree ${tree.slice(0, 12)} was read again`,
    ...keptLines(kept),
  ].join("\n");
}

function keptLines(kept: readonly string[]): string[] {
  return kept.map(
    (place) => `     another program wrote to a file meanwhile: its text is in ${place}`,
  );
}
