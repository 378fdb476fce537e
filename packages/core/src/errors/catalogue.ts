import { agentsCodes } from "./codes/agents.ts";
import { authorityCodes } from "./codes/authority.ts";
import { coreCodes } from "./codes/core.ts";
import { executorCodes } from "./codes/executor.ts";
import { goalsCodes } from "./codes/goals.ts";
import { httpCodes } from "./codes/http.ts";
import { kernelCodes } from "./codes/kernel.ts";
import { modelsCodes } from "./codes/models.ts";
import { nodesCodes } from "./codes/nodes.ts";
import { policyCodes } from "./codes/policy.ts";
import { runsCodes } from "./codes/runs.ts";
import { sandboxCodes } from "./codes/sandbox.ts";
import { scramCodes } from "./codes/scram.ts";
import { storeCodes } from "./codes/store.ts";
import { verifyCodes } from "./codes/verify.ts";
import { type ErrorRow, row } from "./kinds.ts";

/** Every code that the product throws or reports, by code. The one source of `docs/errors.md`. */
export const errorCatalogue = {
  ...coreCodes,
  ...verifyCodes,
  ...storeCodes,
  ...authorityCodes,
  ...policyCodes,
  ...kernelCodes,
  ...sandboxCodes,
  ...scramCodes,
  ...nodesCodes,
  ...runsCodes,
  ...goalsCodes,
  ...executorCodes,
  ...agentsCodes,
  ...httpCodes,
  ...modelsCodes,
} as const;
// Programs that embed us hold it: what a code means is nobody's to change.
for (const one of Object.values(errorCatalogue)) Object.freeze(one);
Object.freeze(errorCatalogue);

export type ErrorCode = keyof typeof errorCatalogue;

/** A code that only another version knows, or that nobody knows, leaves the state unknown. */
const UNKNOWN = Object.freeze(row.fatal("This version does not know the code."));

/** Whether it is a code of this version: other versions and hostile processes send others. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(errorCatalogue, code);
}

/**
 * What a code means. Total: a code may come from another version, or from a hostile process, and
 * whoever reports an error must not fail at it.
 *
 * @param code untrusted
 * @returns the row of a fatal error for a code that the catalogue does not have
 */
export function errorRow(code: string): ErrorRow {
  return isErrorCode(code) ? errorCatalogue[code] : UNKNOWN;
}
