import { type ModelWire, SovereignError } from "@sovereign/core";
import { type Command, Option } from "commander";
import type { KeySource } from "../../services/index.ts";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";

interface Kind {
  readonly baseUrl: string | null;
  readonly auth: "x-api-key" | "bearer";
  readonly wires: readonly ModelWire[];
  readonly provider: string | null;
  readonly outputField: "max_tokens" | "max_completion_tokens";
}

const MESSAGES: readonly ModelWire[] = ["anthropic_messages", "anthropic_count"];
const KINDS: Readonly<Record<string, Kind>> = {
  anthropic: {
    baseUrl: "https://api.anthropic.com",
    auth: "x-api-key",
    wires: MESSAGES,
    provider: "anthropic",
    outputField: "max_tokens",
  },
  openai: {
    baseUrl: "https://api.openai.com/v1",
    auth: "bearer",
    wires: ["openai_responses", "openai_chat"],
    provider: "openai",
    outputField: "max_completion_tokens",
  },
  "anthropic-compatible": {
    baseUrl: null,
    auth: "x-api-key",
    wires: MESSAGES,
    provider: null,
    outputField: "max_tokens",
  },
  "openai-compatible": {
    baseUrl: null,
    auth: "bearer",
    wires: ["openai_chat", "openai_responses"],
    provider: null,
    outputField: "max_tokens",
  },
};

interface AddFlags {
  readonly kind?: string;
  readonly baseUrl?: string;
  readonly auth?: "x-api-key" | "bearer" | "none";
  readonly keyFile?: string;
  readonly keyEnv?: string;
  readonly price?: string;
  readonly replace?: true;
}

/** Vendors of models, whose keys only the model proxy opens. */
export function modelsCommands(program: Command, context: CommandContext): void {
  const models = program
    .command("models")
    .description("add, list, test and remove model vendors and their keys");
  addCommand(models, context);
  listCommand(models, context);
  testCommand(models, context);
  removeCommand(models, context);
}

function addCommand(models: Command, { services, output }: CommandContext): void {
  models
    .command("add <name>")
    .description("add a vendor; its key comes from standard input, a file or the environment")
    .addOption(
      new Option(
        "--kind <kind>",
        "the vendor's protocol; without it, the vendor's name must be one of these",
      ).choices(Object.keys(KINDS)),
    )
    .option("--base-url <url>", "the vendor's address; without it, the kind's own, if it has one")
    .addOption(
      new Option("--auth <how>", "how requests carry the key").choices([
        "x-api-key",
        "bearer",
        "none",
      ]),
    )
    .option("--key-file <file>", "the file that holds the key; standard input without it")
    .option("--key-env <name>", "the environment variable that holds the key")
    .option(
      "--price <in,out>",
      "dollars per million input and output tokens, instead of the built-in table",
    )
    .option("--replace", "replace the vendor of this name")
    .action(async (name: string, flags: AddFlags) => {
      const { kind, input } = inputOf(name, flags);
      const vendor = await services.addVendor(input);
      if (output.json) output.printJson(vendor);
      else {
        const kept = vendor.protection === "none" ? "by file mode alone" : vendor.protection;
        output.note(oneLine`${name} (${kind}) at ${vendor.base_url}; its key is kept: ${kept}`);
        output.note(oneLine`try it with: sovereign models test ${name} --model MODEL`);
      }
    });
}

function inputOf(
  name: string,
  flags: AddFlags,
): { kind: string; input: Parameters<CommandContext["services"]["addVendor"]>[0] } {
  const kind = flags.kind ?? name;
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (known === undefined) {
    const text = `Expected --kind, one of ${Object.keys(KINDS).join(", ")}.`;
    throw new SovereignError("ERR_MODEL_VENDOR", text);
  }
  const baseUrl = flags.baseUrl ?? known.baseUrl;
  if (baseUrl === null) {
    throw new SovereignError("ERR_MODEL_VENDOR", "Expected --base-url for a compatible server.");
  }
  const auth = flags.auth ?? known.auth;
  const { wires, provider, outputField } = known;
  const rest = { price: priceOf(flags.price), key: keyOf(flags, auth) };
  const replace = flags.replace === true;
  return { kind, input: { name, baseUrl, auth, wires, provider, outputField, replace, ...rest } };
}

function keyOf({ keyFile, keyEnv }: AddFlags, auth: string): KeySource {
  if (auth === "none") return { from: "nowhere" };
  if (keyEnv !== undefined) return { from: "environment", name: keyEnv };
  return { from: "file", path: keyFile ?? "/dev/stdin" };
}

function priceOf(text: string | undefined): { input: number; output: number } | null {
  if (text === undefined) return null;
  const found = /^(\d{1,6}(?:\.\d{1,6})?),(\d{1,6}(?:\.\d{1,6})?)$/.exec(text);
  if (found === null) {
    const said = "Expected --price as dollars for a million tokens, such as 3,15 or 0,0.";
    throw new SovereignError("ERR_MODEL_VENDOR", said);
  }
  const [input = 0, output = 0] = found.slice(1).map((part) => Math.round(Number(part) * 1e6));
  return { input, output };
}

function listCommand(models: Command, { services, output }: CommandContext): void {
  models
    .command("list")
    .description("list the vendors; prints no key")
    .action(async () => {
      const vendors = await services.listVendors();
      if (output.json) {
        output.printJson({ vendors });
        return;
      }
      if (vendors.length === 0) {
        output.note("no vendor is set up. Begin with: sovereign models add anthropic");
        return;
      }
      const rows = vendors.map((one) => [
        one.name,
        one.base_url,
        one.wires.join(" "),
        `key: ${one.protection === "none" ? "by file mode alone" : one.protection}`,
      ]);
      output.print(table(rows));
    });
}

function testCommand(models: Command, context: CommandContext): void {
  const { services, output } = context;
  models
    .command("test <name>")
    .description("make one small call through the model proxy, and print the result")
    .requiredOption("--model <model>", "the model to ask")
    .action(async (name: string, { model }: { model: string }) => {
      const report = await services.testVendor(name, model);
      if (!report.ok) context.exit = 1;
      if (output.json) {
        output.printJson(report);
        return;
      }
      output.print(oneLine`${name} ${model}: ${report.meaning}`);
      if (report.said !== "") output.print(oneLine`said: ${report.said}`);
      const { usage, costMicrousd: cost } = report;
      if (usage === null) return;
      const price = cost === null ? "cost: not known" : `cost: ${cost} millionths of a dollar`;
      output.print(oneLine`tokens: ${usage.input} in, ${usage.output} out; ${price}`);
    });
}

function removeCommand(models: Command, { services, output }: CommandContext): void {
  models
    .command("remove <name>")
    .description("remove a vendor and its key")
    .action(async (name: string) => {
      await services.removeVendor(name);
      if (output.json) output.printJson({ removed: name });
      else output.note(oneLine`${name} is removed. Revoke its key with the vendor, too.`);
    });
}
