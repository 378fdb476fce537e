import type { Incident } from "@sovereign/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { wholeNumber } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";
import { userName } from "../who.ts";
import type { IncidentReport } from "../../services/index.ts";

const STATES = ["open", "acknowledged", "resolved", "unresolved"] as const;

interface ListFlags {
  readonly limit: number;
  readonly state?: (typeof STATES)[number];
  readonly kind?: string;
}

/** What a person has to look at. */
export function incidentsCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const incidents = program
    .command("incidents")
    .description("list, acknowledge and resolve what a person has to look at");
  const tell = (found: Incident): void => {
    if (output.json) output.printJson({ ...found });
    else output.print(oneLine`${found.incident_id} ${found.state}: ${found.summary}`);
  };

  incidents
    .command("list")
    .description("list a tenant's incidents, the last one first")
    .option("--limit <count>", "how many to show, 1 to 1000", wholeNumber(1, 1000), 50)
    .addOption(new Option("--state <state>", "only those in this state").choices(STATES))
    .option("--kind <kind>", "only of this kind, such as budget")
    .action(async ({ limit, state, kind }: ListFlags) => {
      const wanted = { limit, state: state ?? null, kind: kind ?? null };
      const found = await services.listIncidents(tenant(), wanted);
      if (output.json) for (const one of found) output.printJson({ ...one });
      else output.print(listed(found));
    });
  incidents
    .command("show")
    .argument("<incident>", "its id, as incidents list has it", parseIncident)
    .description("show an incident, and the entries of the ledger that speak of it")
    .action(async (id: string) => {
      const found = await services.showIncident(tenant(), id);
      if (output.json) output.printJson({ ...found, entries: [...found.entries] });
      else output.print(described(found));
    });
  withWho(incidents.command("ack"))
    .argument("<incident>", "its id, as incidents list has it", parseIncident)
    .description("say that you look at an incident; the ledger says who did")
    .action(async (id: string, { by }: { by?: string }) => {
      tell(await services.acknowledgeIncident(tenant(), id, by ?? userName()));
    });
  withWho(incidents.command("resolve"))
    .argument("<incident>", "its id, as incidents list has it", parseIncident)
    .description("say that an incident is done with; it opens again when it happens again")
    .requiredOption("--note <text>", "why it is done with")
    .action(async (id: string, { by, note }: { by?: string; note: string }) => {
      tell(await services.resolveIncident(tenant(), id, by ?? userName(), note));
    });
  incidents
    .command("rebuild")
    .description("make the rows of a tenant's incidents again, from the ledger")
    .action(async () => {
      const report = await services.rebuildIncidents(tenant());
      const { entries, incidents: count, mended, removed } = report;
      if (output.json) {
        output.printJson({ ...report, mended: [...mended], removed: [...removed] });
        return;
      }
      const rows = `${mended.length} rows mended, ${removed.length} removed`;
      output.print(oneLine`${count} incidents of ${entries} entries; ${rows}`);
      for (const id of mended)
        output.print(oneLine`mended   ${id}: its row was not what the ledger says`);
      for (const id of removed)
        output.print(oneLine`removed  ${id}: no entry of the ledger speaks of it`);
    });
}

function withWho(command: Command): Command {
  return command.option("--by <name>", "who says so; without it, your user name on this machine");
}

function parseIncident(text: string): string {
  if (/^inc_[0-9a-f]{20}$/.test(text)) return text;
  throw new InvalidArgumentError("expected inc_ and 20 of 0-9 a-f");
}

function listed(found: readonly Incident[]): string {
  const rows = found.map((one) => [
    one.incident_id,
    one.severity,
    one.kind,
    one.state,
    String(one.occurrences),
    one.last_at,
    one.run_id ?? "",
  ]);
  return table([["INCIDENT", "SEVERITY", "KIND", "STATE", "TIMES", "LAST", "RUN"], ...rows]);
}

function described(found: IncidentReport): string {
  const said = (by: string | null, at: string | null): string[][] =>
    by === null ? [] : [["", `by ${by} at ${at ?? "?"}`]];
  const lines = [
    ["incident:", found.incident_id],
    ["kind:", found.kind],
    ["severity:", found.severity],
    ["state:", found.state],
    ["about:", found.subject],
    ["summary:", found.summary],
    ...(found.code === null ? [] : [["code:", found.code]]),
    ...(found.run_id === null ? [] : [["run:", found.run_id]]),
    ["times:", `${found.occurrences}, first ${found.raised_at}, last ${found.last_at}`],
    ...said(found.acknowledged_by, found.acknowledged_at).map(([, text = ""]) => [
      "acknowledged:",
      text,
    ]),
    ...said(found.resolved_by, found.resolved_at).map(([, text = ""]) => ["resolved:", text]),
    ...(found.note === null ? [] : [["note:", found.note]]),
  ];
  const entries = found.entries.map((one) => [
    String(one.index),
    `${one.stream}[${one.sequence}]`,
    one.event,
    one.at,
  ]);
  return `${table(lines)}\n${table([["INDEX", "ENTRY", "EVENT", "AT"], ...entries])}`;
}
