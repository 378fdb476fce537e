import { type Mode, quoted, type Toolset } from "@sovereign/core";
import { main as verifyMain } from "@sovereign/verify/cli";
import type { Command } from "commander";
import { type ApproverFlags, approversOf, withApprover } from "../approver.ts";
import type { CommandContext } from "../context.ts";
import { writingNamed } from "../../system/index.ts";
import { oneLine, type Output, table } from "../output.ts";
import { showProgress } from "../progress.ts";
import type {
  ExecFiles,
  ExecInput,
  ExecPlanReport,
  ExecStatusReport,
  RequestWords,
  RunReport,
} from "../../services/index.ts";
import { report } from "./run-report.ts";

interface ExecFlags extends ApproverFlags {
  wait: string;
}
interface FileFlags {
  policy?: string;
  repo: string;
}
interface WordFlags extends FileFlags {
  message?: string;
  author?: string;
  coAuthor: string[];
}
interface RequestFlags extends WordFlags {
  request?: string;
}
interface RunFlags extends ExecFlags {
  mode: string;
}

export function execCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const exec = program
    .command("exec")
    .description("carry out a request on a git repository, or undo it");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const inputOf = (flags: ExecFlags): ExecInput => ({
    tenantId: tenant(),
    approvers: approversOf(flags),
    signal: context.signal,
    waitMs: secondsOf(flags.wait) * 1000,
    onProgress: showProgress(output),
  });
  const secondsOf = (wait: string): number => {
    if (!/^\d{1,7}(\.\d+)?$/.test(wait)) {
      program.error(`--wait ${wait}: expected a number of seconds`);
    }
    return Number(wait);
  };
  const modeOf = ({ mode }: RunFlags): Mode => {
    if (mode === "sovereign" || mode === "compatible") return mode;
    return program.error(`--mode ${mode}: expected sovereign or compatible`);
  };
  const run = async (files: ExecFiles, flags: RunFlags): Promise<void> => {
    const input = { ...inputOf(flags), mode: modeOf(flags) };
    const ended = await services.runRequest(files, input);
    context.exit = reportExec(output, ended);
    const isCommand = typeof files.request !== "string" && files.request.kind === "command";
    if (isCommand && !output.json) output.print(oneLine`output: sovereign runs log ${ended.runId}`);
  };

  withRequest(exec.command("plan [command...]"))
    .description("show each operation, the rule that decides it, and the limits; run nothing")
    .action(async (argv: string[], flags: RequestFlags) => {
      const files = filesOf(program, argv, flags);
      context.exit = printPlan(output, await services.planRequest(files, tenant()));
    });

  withMode(withRun(withRequest(exec.command("run [command...]"))))
    .description("carry out a request, or one command: exec run -- npm test; one commit a step")
    .addHelpText("after", RUN_EXAMPLES)
    .action(async (argv: string[], flags: RequestFlags & RunFlags) => {
      await run(filesOf(program, argv, flags), flags);
    });

  withMode(withRun(withWords(exec.command("apply <patch>"))))
    .description(
      "apply one diff, or the mails of git format-patch, as commits; - reads standard input",
    )
    .addHelpText("after", APPLY_EXAMPLES)
    .action(async (file: string, flags: WordFlags & RunFlags) => {
      await run({ ...placeOf(flags), request: { kind: "patch", file, ...wordsOf(flags) } }, flags);
    });

  addResume(exec, context, inputOf);

  withRun(exec.command("rollback <run>"))
    .description("undo a run: set the repository back to where the run began, and prove it")
    .action(async (runId: string, flags: ExecFlags) => {
      context.exit = reportExec(output, await services.rollbackRequest(runId, inputOf(flags)));
    });

  addStatus(exec, context, inputOf);
  addCustody(exec, context);
  addAnswers(program, context, tenant);
}

function addResume(
  exec: Command,
  context: CommandContext,
  inputOf: (flags: ExecFlags) => ExecInput,
): void {
  const { services, output } = context;
  withRun(exec.command("resume <run>"))
    .description("resume a run that was killed, or that waited for approvals or answers")
    .option("--retry-failed", "try failed steps again, if the run has not ended", false)
    .action(async (runId: string, flags: ExecFlags & { retryFailed: boolean }) => {
      const { retryFailed } = flags;
      const input = { ...inputOf(flags), retryFailed };
      context.exit = reportExec(output, await services.resumeRequest(runId, input));
    });
}

function addStatus(
  exec: Command,
  { services, output }: CommandContext,
  inputOf: (flags: ExecFlags) => ExecInput,
): void {
  withRun(exec.command("status <run>"))
    .description(
      "show the state of a run and its repository; finish a move that a kill interrupted",
    )
    .action(async (runId: string, flags: ExecFlags) => {
      const found = await services.requestStatus(runId, inputOf(flags));
      if (output.json) output.printJson(found);
      else {
        const { status, reason, repository, place, head, recovery, rollback } = found;
        // While a process works on it, its repository is held, and there is no such answer.
        const gone = status === "running" ? ", but no process works on it: it was cut short" : "";
        output.print(oneLine`run: ${runId} ${status}${reason === null ? gone : `: ${reason}`}`);
        output.print(oneLine`repository: ${repository} ${place}, ${head.slice(0, 12)}`);
        if (recovery !== "none") output.print(oneLine`recovery: ${recoveryText(found)}`);
        if (rollback !== null) {
          output.print(oneLine`a rollback that was killed: ${rollback.run} ${rollback.status}`);
        }
        for (const one of found.kept) output.print(oneLine`kept: ${quoted(one)}`);
        if (gone !== "") output.print(oneLine`next: sovereign exec resume ${runId}`);
      }
    });
}

/** A commit that was made amid a move has its files as they were at that moment. */
function recoveryText({ recovery, place, head }: ExecStatusReport): string {
  if (recovery !== "undone" || place !== "elsewhere") return recovery;
  return `undone. The files of the move are in the work tree as before it. ${head.slice(0, 12)}, which was committed since, stays as it is. To see what differs: git status`;
}

/** The verifier does it, which anybody can run without us; this says where the repository is. */
function addCustody(exec: Command, context: CommandContext): void {
  exec
    .command("custody")
    .description(
      "verify a bundle, and compare its commits with a repository; exit 4 if they differ",
    )
    .requiredOption("--bundle <file>", "the compliance bundle of a run")
    .requiredOption("--trust <file>", "the trust root; it must not come with the bundle")
    .option("--repo <folder>", "a folder in the repository", ".")
    .action(async ({ bundle, trust, repo }: { bundle: string; trust: string; repo: string }) => {
      const words = [`--bundle=${bundle}`, `--trust=${trust}`, `--repo=${repo}`];
      context.exit = await verifyMain(context.output.json ? [...words, "--json"] : words);
    });
}

/** What commands will see: where from, and by what it is known again. */
function printTools(output: Output, { mounts, path, env, notes }: Toolset): void {
  const rows = mounts.map((one) => [
    one.at,
    one.access,
    quoted(one.path),
    one.by,
    one.version ?? (one.sha256 ?? one.listing).slice(0, 12),
  ]);
  output.print(
    table([["SEEN AT", "ACCESS", "ON THIS MACHINE", "BY", "VERSION OR DIGEST"], ...rows]),
  );
  output.print(
    oneLine`PATH: ${[...path, "/runtime", "/usr/local/bin", "/usr/bin", "/bin"].join(":")}`,
  );
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  if (set.length > 0) output.print(oneLine`environment: ${set.join(" ")}`);
  for (const note of notes) output.print(oneLine`note: ${note}`);
}

const RUN_EXAMPLES = `
Examples:
  sovereign exec run --policy policy.yaml --request request.json
  sovereign exec run -- npm test
  sovereign exec run --message "Format" -- npx prettier --write .`;

const APPLY_EXAMPLES = `
Examples:
  sovereign exec apply change.patch
  git diff --binary | sovereign exec apply - --message "Mend the parser"`;

/** What is asked for: a request in a file, or the command behind \`--\`. */
function filesOf(program: Command, argv: readonly string[], flags: RequestFlags): ExecFiles {
  const { request } = flags;
  const words = wordsOf(flags);
  if ((request === undefined) === (argv.length === 0)) {
    const found = request === undefined ? "neither" : "both";
    program.error(`expected --request FILE or a command after --, found ${found}`);
  }
  if (request === undefined) {
    return { ...placeOf(flags), request: { kind: "command", argv, ...words } };
  }
  if (words.message !== null || words.author !== null || words.coAuthors.length > 0) {
    program.error("--message, --author and --co-author are for a command; a request has its own");
  }
  return { ...placeOf(flags), request };
}

function placeOf({ policy, repo }: FileFlags): Pick<ExecFiles, "policy" | "repository"> {
  return { policy, repository: repo };
}

function wordsOf({
  message,
  author,
  coAuthor,
}: WordFlags): Omit<RequestWords, "kind" | "argv" | "file"> {
  return { message: message ?? null, author: author ?? null, coAuthors: coAuthor };
}

function withFiles(command: Command): Command {
  return command
    .option("--policy <file>", "the policy; without it, .sovereign/policy.yaml in the repository")
    .option("--repo <folder>", "a folder in the repository", ".");
}

function withWords(command: Command): Command {
  return withFiles(command)
    .option("--message <text>", "the commit's message; its first line is the subject")
    .option("--author <person>", "the commit's author: Name <address>")
    .option(
      "--co-author <person>",
      "one more author of the commit: Name <address>; repeatable",
      people,
      [],
    );
}

function withRequest(command: Command): Command {
  return withWords(command).option("--request <file>", "a request as JSON, instead of a command");
}

function withMode(command: Command): Command {
  return command.option(
    "--mode <mode>",
    "sovereign; or compatible (without authority), if SOVEREIGN_ALLOW_COMPATIBLE=1 allows it",
    "sovereign",
  );
}

function people(value: string, before: string[]): string[] {
  return [...before, value];
}

function printPlan(output: Output, plan: ExecPlanReport): number {
  if (output.json) output.printJson(plan);
  else {
    const { files, file_bytes, timeout_ms } = plan.limits;
    output.print(oneLine`${plan.request} on ${plan.repository} at ${plan.base.slice(0, 12)}`);
    output.print(oneLine`limits: ${files} files, ${file_bytes} bytes each, ${timeout_ms / 1000} s`);
    const rows = plan.decisions.map((one) => [
      `${one.step}.${one.operation}`,
      one.effect,
      one.type,
      one.resource,
      one.why,
    ]);
    if (plan.tools !== null) printTools(output, plan.tools);
    output.print(table([["OPERATION", "DECISION", "TYPE", "ON", "BECAUSE"], ...rows]));
  }
  return plan.decisions.some((one) => one.effect === "deny") ? 3 : 0;
}

function withRun(command: Command): Command {
  return withApprover(command).option(
    "--wait <seconds>",
    "how long to wait while another run uses the repository",
    "0",
  );
}

/** Whoever reads standard error alone hears that it was policy. */
function reportExec(output: Output, result: RunReport): number {
  const policy = ["ERR_POLICY_DENIED", "ERR_ACTION_UNKNOWN", "ERR_CI_FILE_REFUSED"];
  if (policy.includes(result.code ?? "")) {
    output.note(oneLine`sovereign: policy violation (${result.code ?? ""})`);
  }
  return report(output, result, "exec resume");
}

function addAnswers(
  program: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  const answers = program
    .command("answers")
    .description("answer the questions of a blocked request");
  answers
    .command("create <run>")
    .description("write the open questions of a run as an answer pack to fill in")
    .option("--out <file>", "the file to write", "answer_pack.json")
    .action(async (runId: string, flags: { out: string }) => {
      await writingNamed(
        flags.out,
        async (file) => {
          const pack = await services.answerTemplate(tenant(), runId);
          file.write(`${JSON.stringify(pack, null, 2)}\n`);
        },
        { fresh: true },
      );
      if (output.json) output.printJson({ answers: flags.out });
      else
        output.print(
          oneLine`${flags.out}: fill it in, then: sovereign answers apply ${runId} ${flags.out}`,
        );
    });
  answers
    .command("apply <run> <file>")
    .description("apply the answers; refused if a question stays open")
    .action(async (runId: string, file: string) => {
      await services.applyAnswers(tenant(), runId, file);
      if (output.json) output.printJson({ run: runId, answered: true });
      else output.print(oneLine`answered. Next: sovereign exec resume ${runId}`);
    });
}
