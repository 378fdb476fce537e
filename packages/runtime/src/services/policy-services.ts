import { formats, parseFormat, parseStrictJson, utf8Encode } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { Services } from "./services.ts";
import {
  type AskedApproval,
  checkDecisions,
  contextOf,
  PolicyEngine,
  parsePolicy,
  proposePolicy,
  type Refused,
} from "../policy/index.ts";
import { acceptPolicy } from "./exec/read-policy.ts";
import { readRun } from "../ledger/index.ts";
import { findPolicy } from "./exec/find-policy.ts";
import { runNotFound } from "./runs/run-folder.ts";
import type { Opened } from "./opened.ts";

export function policyServices(
  home: string,
  opened: Opened,
): Pick<Services, "trustPolicy" | "checkPolicy" | "explainPolicy" | "testPolicy" | "learnPolicy"> {
  return {
    trustPolicy: (place, { dryRun }) =>
      Promise.resolve().then(() => acceptPolicy(home, place, dryRun)),
    checkPolicy: (file) => Promise.resolve().then(() => parsePolicy(readNamed(file), file)),
    explainPolicy: (file, type, resource, role, params) =>
      Promise.resolve().then(() => {
        const policy = parsePolicy(readNamed(file), file);
        const value = { type, resource, params: parseStrictJson(utf8Encode(params)) };
        const action = parseFormat(formats.action, value, "--action, --resource, --params");
        return new PolicyEngine(policy).explain(action, contextOf(role, policy.digest));
      }),
    testPolicy: (table, { policy: named, repository }) =>
      Promise.resolve().then(() => {
        const file = findPolicy(repository, named);
        const engine = new PolicyEngine(parsePolicy(readNamed(file), file));
        return { policy: file, cases: checkDecisions(engine, readNamed(table), table) };
      }),
    learnPolicy: (tenantId, runId) =>
      opened(async (installation) => {
        const { store } = installation;
        if ((await store.findRun(tenantId, runId)) === null) {
          throw await runNotFound(installation, tenantId, runId);
        }
        const refused: Refused[] = [];
        const asked: AskedApproval[] = [];
        for await (const { entry } of readRun(store, tenantId, runId)) {
          const { action, decision } = entry.data;
          const known = formats.action.safeParse(action);
          const decided = formats.policyDecision.safeParse(decision);
          if (!decided.success) continue;
          const { approvals, observed } = decided.data;
          if (known.success && approvals !== null) asked.push({ type: known.data.type, approvals });
          if (!known.success || !(observed || entry.event_type === "execution.denied")) continue;
          refused.push({ action: known.data, decision: decided.data });
        }
        const proposal = proposePolicy(`learned-${runId.slice(4, 12)}`, refused, asked);
        return { ...proposal, denials: refused.length };
      }),
  };
}
