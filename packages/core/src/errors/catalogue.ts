import { agentsCodes } from "./codes/agents.ts";
import { authorityCodes } from "./codes/authority.ts";
import { coreCodes } from "./codes/core.ts";
import { executorCodes } from "./codes/executor.ts";
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
  ...executorCodes,
  ...agentsCodes,
  ...httpCodes,
  ...modelsCodes,
} as const;

export type ErrorCode = keyof typeof errorCatalogue;
