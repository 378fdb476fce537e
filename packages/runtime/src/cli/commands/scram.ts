import {
  formats,
  type JsonObject,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  type ScramReason,
  type ScramScope,
  utf8Encode,
} from "@sovereign/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { describeScope } from "../../scram/index.ts";
import { SCRAM_INVARIANTS } from "../../sentinel/index.ts";
import { wholeNumber } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { describeLease } from "../lease-text.ts";
import { writingNamed } from "../../system/index.ts";
import { serveCommand } from "./scram-serve.ts";
import { oneLine, table } from "../output.ts";
import { describeSelfProof } from "../sentinel-text.ts";
import {
  describeUnanswered,
  type DrillReport,
  type ScramOutcome,
  type ScramRemote,
  type ScramRepairReport,
  type ScramReport,
} from "../../services/index.ts";

/** Ten years; longer than keys should live. */
const VALID_DAYS_MAX = 3650;
const DRILL_MAX = 1000;
const OPERATOR_KEY = "the operator's key: its file, the beginning of its id, or its holder's name";
const REASONS = formats.scramReason.options;

interface OrderFlags {
  readonly operatorKey: string;
  readonly architectKey: string;
  readonly scope: ScramScope;
  readonly reason: ScramReason;
  readonly message?: string;
  readonly metadata?: JsonObject;
  readonly url?: string;
  readonly ca?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly installation?: string;
}

export function scramCommands(program: Command, context: CommandContext): void {
  const scram = program
    .command("scram")
    .description("the kill switch: stops everything, verified dead within 500 ms");
  orderCommands(scram, context);
  stateCommands(scram, context);
  serveCommand(scram, context);
}

function orderCommands(scram: Command, context: CommandContext): void {
  const { services, output } = context;
  withRemote(withOrder(scram.command("activate")))
    .description("stop, with two people's keys or with an order signed before")
    .option("--order <file>", "an order signed before (see: scram prepare)")
    .action(async (flags: Partial<OrderFlags> & { order?: string }) => {
      const order = flags.order ?? null;
      const remote = remoteOf(scram, flags);
      const input = { ...inputOf(bothKeys(scram, flags, order !== null)), order, remote };
      await tell(await services.scramActivate(input), remote, context);
    });

  withRemote(withOrder(scram.command("emergency")))
    .description("stop as activate does, and record metadata about the threat")
    .requiredOption("--metadata <json>", "a JSON object, recorded with the stop", parseMetadata)
    .action(async (flags: Partial<OrderFlags>) => {
      const remote = remoteOf(scram, flags);
      const input = { ...inputOf(bothKeys(scram, flags, false)), order: null, remote };
      await tell(await services.scramActivate(input), remote, context);
    });

  withRemote(withOrder(scram.command("authorize"), false))
    .description("sign an order as one of two people: the first signature waits, the second stops")
    .option("--operator-key <key>", "sign with this operator's key")
    .option("--architect-key <key>", "sign with this architect's key")
    .action(async (flags: Partial<OrderFlags>) => {
      const { operatorKey, architectKey } = flags;
      if ((operatorKey === undefined) === (architectKey === undefined)) {
        scram.error("expected one of --operator-key and --architect-key");
      }
      const as = operatorKey === undefined ? "architect" : "operator";
      const key = operatorKey ?? architectKey ?? "";
      const remote = remoteOf(scram, flags);
      const input = { ...inputOf(flags), as, key, remote } as const;
      await tell(await services.scramAuthorize(input), remote, context);
    });

  withOrder(scram.command("prepare"))
    .description("sign an order to keep in a safe; `scram --order FILE` gives it later")
    .requiredOption("--out <file>", "the file to write")
    .option(
      "--valid-days <days>",
      "how many days the order is valid",
      wholeNumber(1, VALID_DAYS_MAX),
      30,
    )
    .option("--installation <id>", "the installation to stop, if not this data folder's")
    .action(async (flags: Partial<OrderFlags> & { out: string; validDays: number }) => {
      const validMs = flags.validDays * 86_400_000;
      const installation = flags.installation ?? null;
      const input = { ...inputOf(bothKeys(scram, flags, false)), validMs, installation };
      await writingNamed(
        flags.out,
        async (file) => {
          file.write(`${JSON.stringify(await services.scramPrepare(input))}\n`);
        },
        { mode: 0o600 },
      );
      if (output.json) output.printJson({ order: flags.out });
      else output.print(oneLine`order: ${flags.out}`);
    });

  scram
    .command("reset")
    .description("lift a stop on this machine, with both keys and a reason; needs the database")
    .requiredOption("--operator-key <key>", OPERATOR_KEY)
    .requiredOption("--architect-key <key>", "the same for the architect's key")
    .requiredOption("--reason <text>", "why it is safe to work again")
    .action(async (flags: { operatorKey: string; architectKey: string; reason: string }) => {
      const { operatorKey, architectKey, reason: statement } = flags;
      showStatus(await services.scramReset({ operatorKey, architectKey, statement }), context);
    });
}

function stateCommands(scram: Command, context: CommandContext): void {
  const { services, output } = context;
  scram
    .command("status")
    .description("show the state, the stops and the sentinel; exit 5 if anything is stopped")
    .action(async () => {
      showStatus(await services.scramStatus(), context);
    });

  scram
    .command("keys")
    .description("list the keys that may stop and reset (make one: keys add --operator NAME)")
    .action(async () => {
      const rows = (await services.scramKeys()).map(({ record, endedBy }) => [
        record.key_id,
        record.purpose,
        record.role ?? "",
        record.not_after ?? "",
        endedBy ?? "enrolled",
      ]);
      if (output.json) {
        for (const [key_id, purpose, holder, not_after, state] of rows) {
          output.printJson({ key_id, purpose, holder, not_after, state });
        }
      } else output.print(table([["KEY", "PURPOSE", "HOLDER", "UNTIL", "STATE"], ...rows]));
    });

  scram
    .command("repair")
    .description(
      "repair a damaged journal; keeps every readable line and leaves everything stopped",
    )
    .action(async () => {
      showRepair(await services.scramRepair(), output);
    });

  scram
    .command("log")
    .description("print the sentinel's journal; checks each line")
    .action(async () => {
      for (const line of await services.scramLog()) {
        if (output.json) output.printJson(line);
        else output.print(oneLine`${line.at}  ${line.event}  ${JSON.stringify(line.data)}`);
      }
    });

  scram
    .command("drill")
    .description("rehearse a stop in a temporary installation; stops nothing else")
    .option("--paths <count>", "how many hostile paths to stop", wholeNumber(1, DRILL_MAX), 15)
    .option("--trials <count>", "how many times to stop them", wholeNumber(1, DRILL_MAX), 3)
    .action(async (flags: { paths: number; trials: number }) => {
      showDrill(await services.scramDrill(flags), context);
    });
}

function withOrder(command: Command, both = true): Command {
  if (both) {
    command
      .option("--operator-key <key>", OPERATOR_KEY)
      .option("--architect-key <key>", "the same for the architect's key");
  }
  const scope = new Option("--scope <scope>", "what to stop: all, tenant:NAME or run:ID")
    .argParser(parseScope)
    .default({ kind: "all" }, "all");
  return command
    .addOption(scope)
    .option("--reason <reason>", REASONS.join(", "), parseReason, "operator_initiated")
    .option("--message <text>", "the reason in your own words");
}

function withRemote(command: Command): Command {
  return command
    .option("--url <url>", "send it to a server (see: scram serve): https://…, http://…, unix:PATH")
    .option("--ca <file>", "the CA that certified the server, if not one of the system's")
    .option(
      "--client-cert <file>",
      "this client's certificate, for a server with --client-ca, as PEM",
    )
    .option("--client-key <file>", "the private key of --client-cert, as PEM")
    .option("--installation <id>", "the installation to stop, if not this data folder's");
}

function remoteOf(scram: Command, flags: Partial<OrderFlags>): ScramRemote | null {
  const { url, ca, clientCert, clientKey, installation } = flags;
  const rest = {
    ca: ca ?? null,
    clientCert: clientCert ?? null,
    clientKey: clientKey ?? null,
    installation: installation ?? null,
  };
  if (url !== undefined) return { url, ...rest };
  if (Object.values(rest).every((value) => value === null)) return null;
  return scram.error("--ca, --client-cert, --client-key and --installation go with --url");
}

function bothKeys(
  scram: Command,
  flags: Partial<OrderFlags>,
  prepared: boolean,
): Partial<OrderFlags> {
  if (!prepared && (flags.operatorKey === undefined || flags.architectKey === undefined)) {
    scram.error("expected --operator-key and --architect-key");
  }
  return flags;
}

function inputOf(flags: Partial<OrderFlags>): {
  operatorKey: string;
  architectKey: string;
  scope: ScramScope;
  reason: ScramReason;
  statement: string | null;
  metadata: JsonObject;
} {
  const { operatorKey = "", architectKey = "", scope = { kind: "all" } } = flags;
  const { reason = "operator_initiated", message, metadata = {} } = flags;
  return { operatorKey, architectKey, scope, reason, statement: message ?? null, metadata };
}

function parseScope(text: string): ScramScope {
  const [kind = "", ...rest] = text.split(":");
  const name = rest.join(":");
  const value =
    kind === "tenant"
      ? { kind, tenant_id: name }
      : kind === "run"
        ? { kind, run_id: name }
        : { kind };
  const result = formats.scramScope.safeParse(value);
  if (result.success) return result.data;
  throw new InvalidArgumentError("expected all, tenant:NAME or run:ID");
}

function parseReason(text: string): ScramReason {
  const result = formats.scramReason.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(`expected one of ${REASONS.join(", ")}`);
}

function parseMetadata(text: string): JsonObject {
  try {
    return parseFormat(formats.metadata, parseStrictJson(utf8Encode(text)), "--metadata");
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : "not an object");
  }
}

const ONE_SERVER =
  "it rests on one database server: synchronous_standby_names is empty. If that server fails over before its standby has the order, machines that have not read it go on until this one is connected again";

/** The person who asked is told first, then the other machines. A server tells them by itself. */
async function tell(
  outcome: ScramOutcome,
  remote: ScramRemote | null,
  context: CommandContext,
): Promise<void> {
  showOutcome(outcome, context);
  if (outcome.kind === "pending" || remote !== null) return;
  const { output, services } = context;
  try {
    const told = await services.scramSpread();
    if (told === null) return;
    output.note("in the shared ledger: the other machines of the installation read it");
    if (told === "primary") output.note(ONE_SERVER);
  } catch (error) {
    const why = error instanceof Error ? error.message : "unknown failure";
    output.note(
      oneLine`stopped here, but NOT in the shared ledger yet: ${why} The other machines go on until it is: give the order on one of them, too.`,
    );
  }
}

/** A stop without authority is a stop all the same: exit 3 says that it was not authorised. */
function showOutcome(outcome: ScramOutcome, context: CommandContext): void {
  const { output } = context;
  if (output.json) output.printJson(outcome);
  if (outcome.kind === "pending") {
    if (!output.json) {
      output.print(oneLine`order ${outcome.order_id} waits for the ${outcome.missing}'s signature`);
    }
    return;
  }
  const { event, receipt } = outcome;
  context.exit = event.scram_state === "FAILED" ? 1 : receipt.authorized ? 0 : 3;
  if (!output.json) showStop(outcome, output);
}

function showStop(
  { event, receipt, envelope, checked }: Extract<ScramOutcome, { kind: "stopped" }>,
  output: CommandContext["output"],
): void {
  const ms = (value: number | null): string => (value === null ? "not known" : `${value} ms`);
  output.print(oneLine`${event.scram_state}  ${event.event_id}  ${event.reason}`);
  output.print(oneLine`verified dead after: ${ms(receipt.t_reaped_ms)}`);
  output.print(oneLine`signals sent after: ${ms(receipt.t_signalled_ms)}`);
  output.print(
    oneLine`paths: ${receipt.paths.length}   processes: ${receipt.processes}   rung: ${receipt.rung}`,
  );
  for (const { pid, state } of receipt.stragglers) {
    output.print(oneLine`STILL THERE: pid ${pid}, state ${state}`);
  }
  const failed = SCRAM_INVARIANTS.filter(({ id }) => event.invariants_failed.includes(id));
  const named = failed.map(({ id, expected }) =>
    expected === undefined ? id : `${id} (${expected})`,
  );
  output.print(oneLine`invariants failed: ${named.join(", ") || "none"}`);
  for (const { id, broken } of failed) output.print(oneLine`  ${id}: ${broken}`);
  const unsigned = envelope === null ? " (unsigned: the sentinel's key is locked or missing)" : "";
  output.print(oneLine`receipt: ${event.receipt_digest}${unsigned}`);
  if (checked === false) {
    output.note(
      "the receipt's signature was not checked: its keys are not known in this data folder",
    );
  }
  if (!receipt.authorized) output.note(oneLine`not authorised: ${receipt.refusal ?? ""}`);
  for (const error of receipt.errors) output.note(oneLine`error: ${error}`);
}

function showStatus(status: ScramReport, context: CommandContext): void {
  const { output } = context;
  context.exit = status.state === "ARMED" || status.state === "ACTIVATING" ? 0 : 5;
  if (output.json) {
    output.printJson(status);
    return;
  }
  output.print(status.state);
  for (const { event_id, reason, scope, tripped_at } of status.stops) {
    output.print(oneLine`  ${event_id}  ${tripped_at}  ${reason}  ${describeScope(scope)}`);
  }
  if (!status.readable) output.print("  the latch cannot be read: everything is stopped");
  if (status.trouble !== null) output.print(oneLine`  everything is stopped: ${status.trouble}`);
  output.print(oneLine`sentinel: ${describeSentinel(status)}`);
  if (status.selfProof) output.print(oneLine`self-proof: ${describeSelfProof(status.selfProof)}`);
  if (status.lease !== null) output.print(oneLine`lease: ${describeLease(status.lease)}`);
}

function showRepair(report: ScramRepairReport, output: CommandContext["output"]): void {
  if (output.json) {
    output.printJson(report);
    return;
  }
  if (report.ledger !== null) output.note(report.ledger);
  if (!report.repaired) {
    output.print("nothing to repair: the journal holds together");
    return;
  }
  const { kept, lost, unreadable, salvaged, from_ledger, aside, event_id } = report;
  output.print(oneLine`kept: ${kept} lines, ${from_ledger} of them from the ledger`);
  output.print(oneLine`lost: ${lost} lines; ${unreadable} pieces of the file could not be read`);
  output.print(oneLine`kept beside the chain: ${salvaged} lines that fit nowhere`);
  if (aside !== null) output.print(oneLine`what stood there is now: scram/${aside}`);
  output.print(
    oneLine`everything is stopped (${event_id ?? ""}) until two people type: sovereign scram reset --operator-key NAME --architect-key NAME --reason TEXT`,
  );
}

function describeSentinel({ sentinel, living = 0 }: ScramReport): string {
  if (sentinel === null && living > 0) return describeUnanswered(living);
  if (sentinel === null) {
    return "none answers, and no process of this installation lives; it is started with the next work";
  }
  const told = (value: JsonValue): string => {
    if (value === false) return "none";
    return typeof value === "string" ? value : JSON.stringify(value);
  };
  return Object.entries(sentinel)
    .filter(([name]) => !name.startsWith("lease_"))
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${told(value)}`)
    .join(", ");
}

function showDrill(report: DrillReport, context: CommandContext): void {
  const { output } = context;
  context.exit = report.survivors > 0 || report.over_bound > 0 ? 1 : 0;
  if (output.json) {
    output.printJson(report);
    return;
  }
  const { p50, p99, max } = report.reaped_ms;
  output.print(
    oneLine`${report.trials} trials of ${report.paths} hostile paths, level ${report.level}`,
  );
  output.print(oneLine`order to verified death: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`);
  for (const { what, paths, reaped_ms } of report.owning) {
    const took = reaped_ms === null ? "not all dead in time" : `${reaped_ms} ms`;
    output.print(oneLine`${paths} paths that own as many ${what} as they may: ${took}`);
  }
  output.print(oneLine`survivors: ${report.survivors}   over the bound: ${report.over_bound}`);
}
