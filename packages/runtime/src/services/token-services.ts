import type { ApiScope } from "@sovereign/core";
import { issueToken, listTokens, revokeToken } from "../installation/index.ts";
import { checkTenant } from "../runs/index.ts";
import type { TokenRow } from "../store/index.ts";
import type { Opened } from "./opened.ts";
import type { Services } from "./services.ts";

export interface TokenInput {
  readonly tenantId: string;
  readonly scopes: readonly ApiScope[];
  /** What people call it by; may be empty. */
  readonly label: string;
  readonly validMs: number;
}

/** A token, as its tenant's people are told. */
export interface TokenReport extends TokenRow {
  readonly status: "valid" | "expired" | "revoked";
}

/** Who may use the HTTP API. */
export function tokenServices(
  opened: Opened,
): Pick<Services, "createToken" | "listTokens" | "revokeToken"> {
  return {
    createToken: (input) =>
      opened(async (installation) => {
        checkTenant(input.tenantId);
        return await issueToken(installation, input);
      }),
    listTokens: (tenantId) =>
      opened(async (installation) => {
        checkTenant(tenantId);
        const now = installation.clock.now().toISOString();
        const rows = await listTokens(installation, tenantId);
        return rows.map((row) => ({ ...row, status: statusOf(row, now) }));
      }),
    revokeToken: (tenantId, tokenId) =>
      opened(async (installation) => {
        checkTenant(tenantId);
        await revokeToken(installation, tenantId, tokenId);
      }),
  };
}

function statusOf({ expiresAt, revokedAt }: TokenRow, now: string): TokenReport["status"] {
  if (revokedAt !== null) return "revoked";
  return expiresAt <= now ? "expired" : "valid";
}
