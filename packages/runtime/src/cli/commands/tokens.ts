import { API_SCOPES, type ApiScope } from "@sovereign/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";
import type { TokenReport } from "../../services/index.ts";

const HELP = `
The token is printed once, to standard output, and is nowhere else. A request has it in the header
"Authorization: Bearer TOKEN". A token is good for one tenant and for its scopes, until it expires or is revoked.`;

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const VALID_MAX_MS = 366 * 86_400_000;

interface CreateFlags {
  readonly scope: readonly ApiScope[];
  readonly expires: number;
  readonly label: string;
}

/** Who may use the HTTP API. */
export function tokensCommands(program: Command, context: CommandContext): void {
  const tokens = program
    .command("tokens")
    .description("let programs use the HTTP API for one tenant");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  addCreate(tokens, context, tenant);
  addList(tokens, context, tenant);
  addCheck(tokens, context);
  tokens
    .command("revoke <token-id>")
    .description("end a token, from now on")
    .action(async (tokenId: string) => {
      await context.services.revokeToken(tenant(), tokenId);
      if (context.output.json) context.output.printJson({ tenant: tenant(), token_id: tokenId });
      else context.output.note(oneLine`${tokenId} is revoked`);
    });
}

function addCreate(
  tokens: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  const scope = new Option("--scope <scope...>", "what it may be used for")
    .choices(API_SCOPES)
    .makeOptionMandatory();
  const expires = new Option(
    "--expires <time>",
    "how long it is good, such as 12h or 30d; at most 366d",
  )
    .argParser(valid)
    .default(valid("30d"), "30d");
  tokens
    .command("create")
    .description("make a token of the tenant, and print it once")
    .addOption(scope)
    .addOption(expires)
    .option("--label <text>", "what people call it by", "")
    .addHelpText("after", HELP)
    .action(async ({ scope: scopes, expires: validMs, label }: CreateFlags) => {
      const input = { tenantId: tenant(), scopes, label, validMs };
      const { tokenId, token, expiresAt } = await services.createToken(input);
      if (output.json) {
        const about = { tenant: tenant(), token_id: tokenId, scopes, expires_at: expiresAt };
        output.printJson({ ...about, token });
        return;
      }
      output.note(oneLine`${tokenId} of ${tenant()}, until ${expiresAt}. It is not shown again:`);
      output.print(token);
    });
}

function addList(
  tokens: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  tokens
    .command("list")
    .description("list the tenant's tokens, newest first, without what is secret of them")
    .action(async () => {
      const found = await services.listTokens(tenant());
      if (output.json) {
        for (const one of found) output.printJson(asJson(one));
        return;
      }
      const rows = found.map(({ tokenId, status, expiresAt, scopes, label }) => [
        tokenId,
        status,
        expiresAt,
        scopes.join(","),
        label,
      ]);
      output.print(table([["TOKEN", "STATUS", "EXPIRES", "SCOPES", "LABEL"], ...rows]));
    });
}

function addCheck(tokens: Command, { services, output }: CommandContext): void {
  tokens
    .command("check")
    .description(
      "say whose token it is, or why it does not count: of ours, or of an identity provider",
    )
    .option("--file <file>", "the file that holds the token; standard input without it")
    .addHelpText("after", CHECK_HELP)
    .action(async ({ file = "/dev/stdin" }: { file?: string }) => {
      const found = await services.checkToken(file);
      const { tenantId, name, scopes, expiresAt } = found;
      if (output.json) {
        output.printJson({ tenant: tenantId, name, scopes, expires_at: expiresAt });
        return;
      }
      const granted = scopes.join(", ") || "no scope, so it is good for nothing";
      output.print(oneLine`${name} of ${tenantId}, until ${expiresAt}: ${granted}`);
    });
}

const CHECK_HELP = `
The API tells a caller nothing of why a token is refused. This says what was expected, and nothing of the token.`;

function asJson({
  tokenId,
  status,
  label,
  scopes,
  createdAt,
  expiresAt,
  revokedAt,
}: TokenReport): object {
  const times = { created_at: createdAt, expires_at: expiresAt, revoked_at: revokedAt };
  return { token_id: tokenId, status, label, scopes, ...times };
}

/** @returns milliseconds */
function valid(text: string): number {
  const [, digits = "", unit = ""] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const ms = Number(digits) * (UNITS[unit] ?? 0);
  if (ms > 0 && ms <= VALID_MAX_MS) return ms;
  throw new InvalidArgumentError("expected a time such as 30m, 12h or 30d, at most 366d");
}
