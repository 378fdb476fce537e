import type { ExecProgress } from "../executor/index.ts";
import type { Progress } from "../pipeline/index.ts";
import type { Output } from "./output.ts";

/** Plain lines as a run goes on; with `--json`, one event a line on standard output. */
export function showProgress(output: Output): (progress: Progress | ExecProgress) => void {
  if (output.json) {
    return (progress) => {
      output.printJson(progress);
    };
  }
  const paint = (code: number, text: string): string =>
    output.colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  return (progress) => {
    switch (progress.event) {
      case "run.started":
        output.note(`${progress.name}: ${progress.stages} stages, run ${progress.run}`);
        return;
      case "run.resumed":
        output.note(`${progress.name}: run ${progress.run} goes on`);
        return;
      case "stage.started":
        output.note(`  ${progress.number}. ${progress.stage} (${progress.type})`);
        return;
      case "stage.completed":
        output.note(
          `     ${paint(32, "done")} in ${Math.round(progress.ms)} ms: ${progress.detail}`,
        );
        return;
      case "agent.faulty":
        output.note(`     ${paint(31, "faulty")} ${progress.role}: ${progress.detail}`);
        return;
      case "exec.started":
        output.note(`${progress.steps} steps, run ${progress.run}`);
        return;
      case "step.started":
        output.note(`  ${progress.step}: ${progress.operations} operations`);
        return;
      case "step.completed":
        output.note(
          `     ${paint(32, "committed")} ${progress.commit.slice(0, 12)}: ${progress.files} files`,
        );
        return;
      case "exec.brought_back":
        output.note(broughtBackText(progress));
        return;
      case "approval.needed":
        output.note(`     ${progress.reason}`);
        return;
      case "approval.given":
        output.note(`     approved by ${progress.role}`);
        return;
    }
  };
}

function broughtBackText({
  commits,
  head,
  kept,
}: Extract<ExecProgress, { event: "exec.brought_back" }>): string {
  const other = kept.map(
    (place) => `     another program wrote to a file meanwhile: its text is in ${place}`,
  );
  return [`  ${commits} commits brought back: ${head.slice(0, 12)}`, ...other].join("\n");
}
