import { Command, CommanderError, Option } from "commander";
import { checkTenant } from "../runs/index.ts";
import { parseRunId } from "./arguments.ts";
import { agentCommands } from "./commands/agent.ts";
import { backupCommands } from "./commands/backup.ts";
import { batchCommands } from "./commands/batch.ts";
import { breakersCommands } from "./commands/breakers.ts";
import { budgetsCommands } from "./commands/budgets.ts";
import { bundleCommands } from "./commands/bundle.ts";
import { completionCommand } from "./commands/completion.ts";
import { configCommands } from "./commands/config.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { execCommands } from "./commands/exec.ts";
import { gatesCommands } from "./commands/gates.ts";
import { incidentsCommands } from "./commands/incidents.ts";
import { initCommand } from "./commands/init.ts";
import { keysCommands } from "./commands/keys.ts";
import { ledgerCommands } from "./commands/ledger.ts";
import { modelsCommands } from "./commands/models.ts";
import { nodesCommands } from "./commands/nodes.ts";
import { policyCommands } from "./commands/policy.ts";
import { repairCommands } from "./commands/repair.ts";
import { uninstallCommand } from "./commands/uninstall.ts";
import { toolCommands } from "./commands/tool.ts";
import { secretsCommands } from "./commands/secrets.ts";
import { tenantsCommands } from "./commands/tenants.ts";
import { serveApiCommand } from "./commands/serve.ts";
import { tokensCommands } from "./commands/tokens.ts";
import { runCommands } from "./commands/run.ts";
import { runsCommands } from "./commands/runs.ts";
import { skillsCommands } from "./commands/skills.ts";
import { scramCommands } from "./commands/scram.ts";
import { verifyCommands } from "./commands/verify.ts";
import { workerCommand } from "./commands/worker.ts";
import type { CommandContext } from "./context.ts";
import { createOutput, DEFAULT_TENANT, reportError, reportUsage, usageText } from "./output.ts";
import { refuseRepeated } from "./repeated.ts";
import type { Services } from "../services/index.ts";

const EXIT_CODES = `
Exit codes: 0 ok, 1 failed, 2 usage or bad input, 3 denied, 4 evidence invalid, 5 SCRAM.
Environment: SOVEREIGN_HOME (data folder), DATABASE_URL (use this PostgreSQL instead of the
embedded one), SOVEREIGN_PASSPHRASE_FILE (opens encrypted keys), NO_COLOR.`;

/** What does work, and is refused at the first look while the kill switch is tripped. */
const WORK = new Set([
  "run start",
  "run resume",
  "run retry",
  "runs retry",
  "exec run",
  "exec apply",
  "exec resume",
  "exec rollback",
  "batch run",
  "agent run",
  "agent compare",
  "agent apply",
  "agent resume",
  "tool dispatch",
]);
/** Those whose argument is a run. */
const GOES_ON = new Set(["resume", "retry", "rollback", "apply"]);

/**
 * Run one command line.
 * @param argv without node and script
 * @returns the process exit code
 */
export async function runCli(
  argv: readonly string[],
  services: Services,
  signal: AbortSignal,
): Promise<number> {
  // What stands behind `--` belongs to the command that is run.
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  let tenantId = DEFAULT_TENANT;
  const output = createOutput(own.includes("--json"), services.display, () => tenantId);
  const context: CommandContext = { services, output, signal, words: argv, exit: 0 };
  const program = buildProgram(context);
  program.hook("preAction", (_, command) => {
    const { tenant } = program.opts<{ tenant: string }>();
    // Before any command: what is named becomes the name of a log and of files.
    checkTenant(tenant);
    tenantId = tenant;
    if (!WORK.has(nameOf(command))) return;
    const [runId] = GOES_ON.has(command.name()) ? command.args : [];
    services.refuseWhileTripped(tenant, runId ?? null);
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return context.exit;
  } catch (error) {
    if (error instanceof CommanderError) return reportUsage(output, error);
    return reportError(output, error);
  }
}

function buildProgram(context: CommandContext): Command {
  const program = new Command("sovereign")
    .description("Run AI agents and pipelines whose work can be proved.")
    .version(context.services.version)
    .option("--json", "print results as JSON, one document per line")
    .option("--verbose", "print which data folder and database are used")
    .option("--tenant <name>", "the tenant that the work belongs to", DEFAULT_TENANT)
    .option("--tenant-id <name>", "the same; a goal needs it")
    .addHelpText("after", EXIT_CODES)
    .showHelpAfterError("(ERR_USAGE; add --help for what is expected)")
    .configureOutput({
      outputError: (text, write) => {
        write(usageText(text));
      },
    });
  program.on("option:tenant-id", (name: string) => {
    program.setOptionValue("tenant", name);
  });
  for (const add of [
    runCommands,
    runsCommands,
    skillsCommands,
    incidentsCommands,
    budgetsCommands,
    workerCommand,
    breakersCommands,
    execCommands,
    agentCommands,
    toolCommands,
    gatesCommands,
    keysCommands,
    policyCommands,
    initCommand,
    bundleCommands,
    verifyCommands,
    batchCommands,
    scramCommands,
    nodesCommands,
    modelsCommands,
    secretsCommands,
    tenantsCommands,
    tokensCommands,
    serveApiCommand,
    backupCommands,
    ledgerCommands,
    repairCommands,
    doctorCommand,
    configCommands,
    completionCommand,
    uninstallCommand,
  ]) {
    add(program, context);
  }
  addGlobalOptions(program);
  everywhere(program, (command) => {
    command.exitOverride().configureHelp({ showGlobalOptions: true });
    refuseRepeated(command);
    // With --json the one answer is the document on standard output.
    if (context.output.json) command.configureOutput({ writeErr: () => undefined });
    for (const argument of command.registeredArguments) {
      if (argument.name() === "run") argument.argParser(parseRunId);
    }
  });
  return program;
}

/**
 * What `--help` says of each command, by its words: kept in a file, so that help needs none of our
 * modules. Commands that pass their words on to another program are left out.
 */
export function helpTexts(version: string): Readonly<Record<string, string>> {
  const output = createOutput(false);
  const signal = AbortSignal.abort();
  const services = { version } as Services;
  const program = buildProgram({ services, output, signal, words: [], exit: 0 });
  const texts: Record<string, string> = {};
  everywhere(program, (command) => {
    let text = "";
    command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 80 });
    command.outputHelp();
    const words = command === program ? "" : nameOf(command);
    if (text.includes("-h, --help")) texts[words] = text;
  });
  return texts;
}

/** `exec run` of the command `sovereign exec run`. */
function nameOf(command: Command): string {
  const { parent } = command;
  if (parent === null || parent.parent === null) return command.name();
  return `${nameOf(parent)} ${command.name()}`;
}

function everywhere(command: Command, apply: (command: Command) => void): void {
  apply(command);
  for (const child of command.commands) everywhere(child, apply);
}

/** These may stand anywhere on the line; the help names them once, as global. */
function addGlobalOptions(program: Command): void {
  everywhere(program, (command) => {
    if (command === program) return;
    command.addOption(new Option("--json").hideHelp());
    command.addOption(new Option("--verbose").hideHelp());
  });
}
