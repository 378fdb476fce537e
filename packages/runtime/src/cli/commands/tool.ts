import {
  agentOfTool,
  isSovereignError,
  parseStrictJson,
  SovereignError,
  utf8Decode,
} from "@sovereign/core";
import { type PackReport, readNamed } from "@sovereign/verify";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { writingNamed } from "../../system/index.ts";
import { oneLine, type Output, table } from "../output.ts";
import type { ToolHealthRow } from "../../services/index.ts";
import {
  placeOf,
  type RunFlags,
  taskOf,
  tell,
  withResult,
  withTask,
  withWork,
  workInput,
} from "./agent.ts";

/** Work for tools as files: the task that is given, and what came of it. */
export function toolCommands(program: Command, context: CommandContext): void {
  const tool = program
    .command("tool")
    .description("give a coding agent's work out as files, and look at what comes back");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  addWork(tool, context, tenant);
  addLooks(tool, context, tenant);
}

const PACK_HELP = `
Example:
  sovereign tool pack claude "Fix the failing test" --scope src --verify "npm test" --out task.json
  sovereign tool dispatch task.json`;

function addWork(tool: Command, context: CommandContext, tenant: () => string): void {
  const { services, output } = context;
  withTask(tool.command("pack <agent> [task]"))
    .description(
      "write a task pack: the task, the commit that it begins with, its scope and limits",
    )
    .option("--file <file>", "read the task from this file")
    .option("--out <file>", "write the pack to this new file; without it, to standard output")
    .addHelpText("after", PACK_HELP)
    .action(async (agent: string, words: string | undefined, flags: PackFlags) => {
      const task = textOf(tool, words, flags.file);
      const { repo: repository, policy } = flags;
      const about = { ...taskOf(tool, flags), agent, task, repository, policy };
      await write(output, await services.packTask(about), flags.out);
    });

  withWork(
    withResult(
      tool
        .command("dispatch <file>")
        .option("--repo <folder>", "a folder in the repository", ".")
        .option("--policy <file>", "the policy, if it is not the repository's or the built-in one"),
    ),
  )
    .description("have the agent carry out a task pack, like: agent run --task-pack FILE")
    .addHelpText("after", DISPATCH_HELP)
    .action(async (file: string, flags: RunFlags) => {
      if (flags.apply === true && flags.branch !== undefined) {
        tool.error("expected --apply or --branch, found both");
      }
      const input = { ...workInput(tool, context, tenant(), flags), ...placeOf(flags), file };
      context.exit = tell(output, await services.dispatchTool(input));
    });

  tool
    .command("collect <run>")
    .description("write the result pack of an agent's run, computed from its evidence")
    .option("--out <file>", "write the pack to this new file; without it, to standard output")
    .addHelpText("after", COLLECT_HELP)
    .action(async (runId: string, { out }: { out?: string }) => {
      await write(output, await services.collectResult(tenant(), runId), out);
    });
}

type PackFlags = RunFlags & { readonly file?: string; readonly out?: string };

const DISPATCH_HELP = `
The pack must be for the commit that is checked out, for the policy that holds, and for the agent's
version that is installed. A pack with a field that is not known is refused.

Example:
  sovereign tool dispatch task.json --apply`;

const COLLECT_HELP = `
A run whose result waits has a pack, too: it says what the evidence gives so far.

Example:
  sovereign tool collect RUN --out result.json
  sovereign tool verify result.json --task task.json`;

const VERIFY_HELP = `
Nothing of the pack is believed: files, digests, commits and scope are computed again from the repository.
If the pack's run is in the ledger here, every field is held against its evidence, too. A line says of each
field: holds, false, claim (nothing here can say) or unknown (the repository lacks what is needed).

Exit codes: 0 TRUE; 1 INCOMPLETE, or FAILED (the pack is true, and the result is not to be accepted);
2 a file cannot be read or is no pack; 4 FALSE (a field lies, or the work is out of its scope).

Example:
  sovereign tool verify result.json --task task.json --repo .`;

const HEALTH_HELP = `
States: connected, not_configured, invalid_token, unreachable, model_missing, schema_mismatch.
Without --call no key is tried, and nothing is sent. Exits 0 if a tool is connected, else 1.

Example:
  sovereign tool health --call`;

function addLooks(tool: Command, context: CommandContext, tenant: () => string): void {
  const { services, output } = context;
  tool
    .command("verify <result>")
    .description("check a result pack that somebody made against its task and a repository")
    .requiredOption("--task <file>", "the task pack that it answers")
    .option("--repo <folder>", "a folder in the repository that has its commits", ".")
    .addHelpText("after", VERIFY_HELP)
    .action(async (result: string, { task, repo }: { task: string; repo: string }) => {
      const report = await services.verifyPack({ task, result, repository: repo }, tenant());
      tellReport(output, report);
      context.exit = EXITS[report.verdict];
    });
  tool
    .command("health [tool]")
    .description("show the state of each tool, or of one")
    .option("--call", "make one small call of each tool's model; it may cost a fraction of a cent")
    .addHelpText("after", HEALTH_HELP)
    .action(async (name: string | undefined, { call }: { call?: true }) => {
      const tryModel = call === true ? services.testVendor.bind(services) : null;
      const all = await services.toolHealth(tenant(), tryModel);
      const isNamed = ({ tool: own }: ToolHealthRow): boolean =>
        own === name || agentOfTool(own) === name;
      const rows = name === undefined ? all : all.filter(isNamed);
      if (rows.length === 0) {
        tool.error(`no tool ${name ?? ""}: expected ${all.map((one) => one.tool).join(", ")}`);
      }
      tellHealth(output, rows);
      context.exit = rows.some((one) => one.state === "connected") ? 0 : 1;
    });
}

const EXITS: Readonly<Record<PackReport["verdict"], number>> = {
  TRUE: 0,
  FAILED: 1,
  INCOMPLETE: 1,
  FALSE: 4,
};

function tellReport(output: Output, report: PackReport): void {
  if (output.json) {
    output.printJson(report);
    return;
  }
  const order = ["false", "unknown", "claim", "holds"];
  const lines = [...report.lines].sort((a, b) => order.indexOf(a.found) - order.indexOf(b.found));
  const rows = lines.map(({ field, found, text }) => [found, field, text]);
  output.print(table([["FOUND", "FIELD", "WHY"], ...rows]));
  output.print(report.verdict);
}

function tellHealth(output: Output, rows: readonly ToolHealthRow[]): void {
  if (output.json) {
    for (const row of rows) output.printJson(row);
    return;
  }
  const lines = rows.map(({ tool, state, version, why, next }) => {
    return [tool, state, version ?? "", next === null ? why : `${why}; type: ${next}`];
  });
  output.print(table([["TOOL", "STATE", "VERSION", "WHY"], ...lines]));
}

/** To a file that is not there yet, so that nobody's is lost. */
async function write(output: Output, bytes: Uint8Array, path: string | undefined): Promise<void> {
  if (path === undefined) {
    const value = parseStrictJson(bytes);
    if (output.json) output.printJson(value);
    else output.print(JSON.stringify(value, null, 2));
    return;
  }
  await writingNamed(
    path,
    (file) => {
      file.write(bytes);
    },
    { fresh: true },
  );
  if (output.json) output.printJson({ file: path });
  else output.print(oneLine`wrote ${path}`);
}

/** The most bytes of a task: what an agent takes has at most 200,000 characters. */
const TASK_BYTES_MAX = 800_000;

/** The task's words, or those of a file. @throws ERR_FILE_UNREADABLE for what is no UTF-8 */
function textOf(command: Command, words: string | undefined, file: string | undefined): string {
  if ((words === undefined) === (file === undefined)) {
    return command.error("expected the task or --file, and not both");
  }
  if (words !== undefined) return words;
  const path = file ?? "";
  try {
    return utf8Decode(readNamed(path, TASK_BYTES_MAX)).trim();
  } catch (cause) {
    if (!isSovereignError(cause, "ERR_BYTES_MALFORMED")) throw cause;
    const text = `Cannot read ${path}: expected text in UTF-8. Convert it, such as with iconv -t UTF-8`;
    throw new SovereignError("ERR_FILE_UNREADABLE", text, { path }, cause);
  }
}
