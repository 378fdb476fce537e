import type { KeyTable } from "@sovereign/core";
import type { Command } from "commander";
import { INSTALLATION_KEYS, type KeySlot } from "../../authority/index.ts";
import {
  shiftTimestamp,
  systemClock,
  timestampOf,
  type NamedFile,
  writingNamed,
} from "../../system/index.ts";
import { oneLine, table } from "../output.ts";
import { many, parseName, wholeNumber } from "../arguments.ts";
import type { CommandContext } from "../context.ts";

/** Ten years; longer than keys should live. */
const VALID_DAYS_MAX = 3650;

export function keysCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const keys = program
    .command("keys")
    .description("make, list, replace and revoke the installation's keys");

  keys
    .command("init")
    .description("make the keys of a new installation, one for each purpose and role")
    .option("--role <name>", "also a key for this role; repeatable", many, [])
    .option("--approver <name>", "also a key for this approver; repeatable", many, [])
    .option("--operator <name>", "also a kill switch key for this operator; repeatable", many, [])
    .option("--architect <name>", "also a kill switch key for this architect; repeatable", many, [])
    .action(async (flags: SlotFlags) => {
      const made = await services.initKeys(slotsOf(flags));
      for (const key of made) {
        if (output.json) output.printJson(key);
        else
          output.print(
            oneLine`${key.key_id}  ${key.purpose}${key.role === null ? "" : ` ${key.role}`}`,
          );
      }
    });

  keys
    .command("add")
    .description("make and enrol a key for a role, approver, operator, architect or a spare root")
    .option("--role <name>", "a role; repeatable", many, [])
    .option("--approver <name>", "an approver; repeatable", many, [])
    .option(
      "--operator <name>",
      "a person who may stop and reset together with an architect",
      many,
      [],
    )
    .option(
      "--architect <name>",
      "a person who may stop and reset together with an operator",
      many,
      [],
    )
    .option("--root", "a spare root key; move its file to a safe")
    .option(
      "--another",
      "make a second key beside the one in force; both are valid from then on",
      false,
    )
    .option(
      "--valid-days <days>",
      "how many days the key is valid; without it, until it is revoked",
      wholeNumber(1, VALID_DAYS_MAX),
    )
    .action(async (flags: SlotFlags & { another: boolean }) => {
      const slots = slotsOf(flags);
      if (slots.length === 0)
        program.error("expected --role, --approver, --operator, --architect or --root");
      for (const key of await services.addKeys(slots, flags.another)) {
        if (output.json) output.printJson(key);
        else output.print(oneLine`${key.key_id}  ${key.purpose} ${key.role ?? ""}`);
      }
    });

  lifeCommands(keys, context);
}

function lifeCommands(keys: Command, context: CommandContext): void {
  const { services, output } = context;
  keys
    .command("list")
    .description("list every key that was ever enrolled, and when it was valid by the key log")
    .action(async () => {
      listKeys(await services.listKeys(), context);
    });

  keys
    .command("replace <purpose>")
    .description("replace a key that is lost, revoked, expired or in use by a new one")
    .addHelpText("after", REPLACE_HELP)
    .option("--reason <text>", "why", "replacement")
    .option(
      "--valid-days <days>",
      "how many days the key is valid; without it, until it is revoked",
      wholeNumber(1, VALID_DAYS_MAX),
    )
    .action(async (purpose: string, flags: { reason: string; validDays?: number }) => {
      const notAfter = flags.validDays === undefined ? null : timestampAfter(flags.validDays);
      const slot = { ...slotOf(keys, purpose), notAfter };
      const key = await services.replaceKey(slot, flags.reason);
      if (output.json) output.printJson(key);
      else output.print(oneLine`${key.key_id} is the ${purpose} key now`);
    });

  keys
    .command("rotate <key>")
    .description("replace one key, named by its id or the beginning of it")
    .option("--reason <text>", "why", "rotation")
    .action(async (keyId: string, flags: { reason: string }) => {
      const key = await services.rotateKey(keyId, flags.reason);
      if (output.json) output.printJson(key);
      else output.print(oneLine`${key.key_id} replaces ${keyId}`);
    });

  keys
    .command("revoke <key>")
    .description(
      "revoke a key by its id or beginning; earlier signatures stay valid without --distrust-all",
    )
    .requiredOption("--reason <text>", "why")
    .option("--distrust-all", "distrust everything that this key ever signed", false)
    .action(async (keyId: string, flags: { reason: string; distrustAll: boolean }) => {
      const { key_id } = await services.revokeKey(keyId, flags.reason, flags.distrustAll);
      if (output.json) output.printJson({ revoked: key_id, distrust_all: flags.distrustAll });
      else output.print(oneLine`${key_id} is revoked`);
    });

  keys
    .command("export-trust")
    .description("write the trust root for auditors; send it by another way than bundles")
    .option(
      "--out <file>",
      "the new file to write, which must not exist; without it, standard output",
    )
    .action(async (flags: { out?: string }) => {
      const text = async (): Promise<string> =>
        `${JSON.stringify(await services.trustRoot(), null, 2)}\n`;
      if (flags.out === undefined) {
        output.print((await text()).trimEnd());
        return;
      }
      const write = async (file: NamedFile): Promise<void> => {
        file.write(await text());
      };
      await writingNamed(flags.out, write, { fresh: true });
      output.note(oneLine`trust root: ${flags.out}`);
    });
}

const REPLACE_HELP = `
Purposes: root, checkpoint, config, binding, seal, attestation, sentinel, role:NAME, approver:NAME,
operator:NAME, architect:NAME. All other keys of that purpose and name end; what they signed before
stays good. A root key is replaced with the help of any root key whose file is here.`;

const WORDS: ReadonlyMap<string, KeySlot["purpose"]> = new Map([
  ...INSTALLATION_KEYS.map(({ purpose }) => [purpose, purpose] as const),
  ["role", "role"],
  ["approver", "approval"],
  ["approval", "approval"],
  ["operator", "operator"],
  ["architect", "architect"],
]);

/** `seal`, or `role:trainer`; of a person without a name, if only one has such a key. */
function slotOf(command: Command, text: string): KeySlot {
  const [word = "", ...rest] = text.split(":");
  const purpose = WORDS.get(word);
  const installations = INSTALLATION_KEYS.some((slot) => slot.purpose === purpose);
  if (purpose === undefined || (installations && rest.length > 0)) {
    return command.error(`expected a purpose, found ${text}. See: sovereign keys replace --help`);
  }
  if (rest.length === 0) return { purpose, role: null };
  try {
    return { purpose, role: parseName(rest.join(":")) };
  } catch (error) {
    return command.error(error instanceof Error ? error.message : "expected a name");
  }
}

interface SlotFlags {
  readonly role: string[];
  readonly approver: string[];
  readonly operator: string[];
  readonly architect: string[];
  readonly root?: boolean;
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
    ...(flags.root === true ? [{ purpose: "root", role: null, notAfter } as const] : []),
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
