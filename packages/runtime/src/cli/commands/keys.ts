import type { KeyTable } from "@sovereign/core";
import type { Command } from "commander";
import type { KeySlot } from "../../authority/index.ts";
import { shiftTimestamp, systemClock, timestampOf } from "../../kernel/index.ts";
import { table } from "../output.ts";
import { parseName, wholeNumber, writeNamed } from "../arguments.ts";
import type { CommandContext } from "../context.ts";

/** Ten years; longer than keys should live. */
const VALID_DAYS_MAX = 3650;

const many = (value: string, before: string[]): string[] => [...before, parseName(value)];

export function keysCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const keys = program.command("keys").description("the installation's keys");

  keys
    .command("init")
    .description("make the keys of a new installation, one for each purpose and role")
    .option("--role <name>", "also a key for this role; repeatable", many, [])
    .option("--approver <name>", "also a key for this approver; repeatable", many, [])
    .option("--operator <name>", "also a key of the kill switch, as operator", many, [])
    .option("--architect <name>", "also a key of the kill switch, as architect", many, [])
    .action(async (flags: SlotFlags) => {
      const made = await services.initKeys(slotsOf(flags));
      for (const key of made) {
        if (output.json) output.printJson(key);
        else
          output.print(`${key.key_id}  ${key.purpose}${key.role === null ? "" : ` ${key.role}`}`);
      }
    });

  keys
    .command("add")
    .description("make and enrol the key of one more role or approver")
    .option("--role <name>", "a role", many, [])
    .option("--approver <name>", "an approver", many, [])
    .option("--operator <name>", "one who may stop and reset, as the first of two", many, [])
    .option("--architect <name>", "one who may stop and reset, as the second of two", many, [])
    .option(
      "--valid-days <days>",
      "how long they are good; without it, until they are revoked",
      wholeNumber(1, VALID_DAYS_MAX),
    )
    .action(async (flags: SlotFlags) => {
      const slots = slotsOf(flags);
      if (slots.length === 0)
        program.error("expected --role, --approver, --operator or --architect");
      for (const key of await services.addKeys(slots)) {
        if (output.json) output.printJson(key);
        else output.print(`${key.key_id}  ${key.purpose} ${key.role ?? ""}`);
      }
    });

  lifeCommands(keys, context);
}

function lifeCommands(keys: Command, context: CommandContext): void {
  const { services, output } = context;
  keys
    .command("list")
    .description("every key that was ever enrolled, with its window in the key log")
    .action(async () => {
      listKeys(await services.listKeys(), context);
    });

  keys
    .command("rotate <key>")
    .description("make a new key in the place of an old one (its id, or the beginning of it)")
    .option("--reason <text>", "why", "rotation")
    .action(async (keyId: string, flags: { reason: string }) => {
      const key = await services.rotateKey(keyId, flags.reason);
      if (output.json) output.printJson(key);
      else output.print(`${key.key_id} replaces ${keyId}`);
    });

  keys
    .command("revoke <key>")
    .description(
      "withdraw a key (id or beginning); what it signed before stays good unless --distrust-all",
    )
    .requiredOption("--reason <text>", "why")
    .option("--distrust-all", "believe nothing that this key ever signed", false)
    .action(async (keyId: string, flags: { reason: string; distrustAll: boolean }) => {
      const { key_id } = await services.revokeKey(keyId, flags.reason, flags.distrustAll);
      if (output.json) output.printJson({ revoked: key_id, distrust_all: flags.distrustAll });
      else output.print(`${key_id} is revoked`);
    });

  keys
    .command("export-trust")
    .description(
      "write the trust root that auditors pin; give it to them by another way than bundles",
    )
    .option("--out <file>", "where to; standard output if absent")
    .action(async (flags: { out?: string }) => {
      const text = `${JSON.stringify(await services.trustRoot(), null, 2)}\n`;
      if (flags.out === undefined) output.print(text.trimEnd());
      else {
        writeNamed(flags.out, text);
        output.note(`trust root: ${flags.out}`);
      }
    });
}

interface SlotFlags {
  readonly role: string[];
  readonly approver: string[];
  readonly operator: string[];
  readonly architect: string[];
  readonly validDays?: number;
}

function slotsOf(flags: SlotFlags): KeySlot[] {
  const { validDays } = flags;
  const notAfter = validDays === undefined ? null : timestampAfter(validDays);
  const of = (purpose: KeySlot["purpose"], names: readonly string[]): KeySlot[] =>
    names.map((role) => ({ purpose, role, notAfter }));
  return [
    ...of("role", flags.role),
    ...of("approval", flags.approver),
    ...of("operator", flags.operator),
    ...of("architect", flags.architect),
  ];
}

function timestampAfter(days: number): string {
  return shiftTimestamp(timestampOf(systemClock), days * 86_400_000);
}

function listKeys(keys: KeyTable, { output }: CommandContext): void {
  if (output.json) {
    for (const { record, introduced, ended, endedBy, distrustAll } of keys.windows) {
      output.printJson({
        ...record,
        introduced,
        ended,
        ended_by: endedBy,
        distrust_all: distrustAll,
      });
    }
    return;
  }
  const lines = keys.windows.map(({ record, introduced, ended, endedBy, distrustAll }) => [
    record.key_id,
    record.purpose,
    record.role ?? "",
    String(introduced),
    ended === null
      ? "valid"
      : `${endedBy ?? "ended"} at ${ended}${distrustAll ? ", distrusted" : ""}`,
  ]);
  output.print(table([["KEY", "PURPOSE", "ROLE", "SINCE", "STATE"], ...lines]));
}
