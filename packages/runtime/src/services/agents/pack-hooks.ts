import { join } from "node:path";
import {
  canonicalBytes,
  type EntryData,
  formats,
  GATE_DOCUMENTS,
  isGateInput,
  parseFormat,
  parseStrictJson,
  type PlacedEntry,
  predicateType,
  readGateInputs,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { readRun } from "../../ledger/index.ts";
import { requireOwnFile } from "../../system/index.ts";
import type { ExecContext, FrozenExec } from "../exec/exec-context.ts";
import { namedArtifacts } from "../exec/judge-run.ts";
import type { ExecutionVariant } from "../exec/execution-kind.ts";
import type { RunOptions } from "../runs/lifecycle.ts";

const TASK = predicateType("tool-task");
const RESULT = predicateType("tool-result");

/**
 * The packs of one run: the task is signed before the tool works, the result is computed from the
 * evidence and signed beside it. A run from before there were packs has neither.
 *
 * @param opened the session, once it is there
 */
export function packHooks(
  options: RunOptions,
  runId: string,
  frozen: FrozenExec,
  opened: () => ExecContext,
): Required<Pick<ExecutionVariant, "begin" | "evidence" | "attest">> {
  const asked = askedOf(frozen);
  const entries = (): Promise<PlacedEntry[]> => entriesOf(options, runId);
  return {
    begin: async () => {
      if (asked === null || attested(await entries(), TASK)) return;
      const { session, authority, folder } = opened();
      const bytes = requireOwnFile(join(folder, GATE_DOCUMENTS.taskPack));
      if (sha256Hex(bytes) !== asked.sha256) throw diverged(runId);
      const { tool_task_pack_id } = readTask(bytes);
      const { policy, plan, planned } = frozen;
      const { role } = planned.request;
      const statement = {
        run_id: runId,
        role,
        tool_task_pack_id,
        sha256: asked.sha256,
        base_commit: plan.repository.commit,
        policy_digest: policy.digest,
      };
      const subject = [{ name: tool_task_pack_id, sha256: asked.sha256 }];
      await session.attest(TASK, async () => ({
        task_pack: await authority.issue("tool-task", subject, statement, "role", role),
      }));
    },
    evidence: async (refs) => {
      const before = await entries();
      if (asked === null || !attested(before, TASK)) return [];
      const { artifacts, folder } = opened();
      const task = requireOwnFile(join(folder, GATE_DOCUMENTS.taskPack));
      const media = "application/json";
      const kept = await artifacts.put(GATE_DOCUMENTS.taskPack, task, media);
      const contents = new Map<string, Uint8Array>([[kept.name, task]]);
      for (const ref of [...namedArtifacts(before), ...refs]) {
        if (isGateInput(ref.name, true)) contents.set(ref.name, await artifacts.get(ref));
      }
      // A pack that was changed since is evidence, too: the gates say what is wrong with it.
      const found = readGateInputs(contents, before).tool?.found ?? null;
      if (found === null) return [kept];
      const bytes = canonicalBytes(found);
      return [kept, await artifacts.put(GATE_DOCUMENTS.resultPack, bytes, media)];
    },
    attest: async () => {
      const before = await entries();
      const pack = namedArtifacts(before).findLast((one) => one.name === GATE_DOCUMENTS.resultPack);
      if (pack === undefined || attested(before, RESULT)) return;
      const { session, authority, artifacts } = opened();
      const value = parseStrictJson(await artifacts.get(pack));
      const { tool_result_pack_id } = parseFormat(formats.toolResultPack, value, pack.name);
      const { sha256 } = pack;
      const subject = [{ name: tool_result_pack_id, sha256 }];
      const statement = { run_id: runId, tool_result_pack_id, sha256 };
      const kind = "tool-result";
      await session.attest(RESULT, async () => ({
        result_pack: await authority.issue(kind, subject, statement, "attestation", null),
      }));
    },
  };
}

/** The pack that the frozen request names; null for a run from before there were packs. */
function askedOf({ planned }: FrozenExec): { readonly sha256: string } | null {
  for (const { action } of planned.steps.flatMap((step) => step.operations)) {
    const { task_pack: sha256 } = action.params;
    if (action.type === "agent.run" && typeof sha256 === "string") return { sha256 };
  }
  return null;
}

function readTask(bytes: Uint8Array): { tool_task_pack_id: string } {
  return parseFormat(formats.toolTaskPack, parseStrictJson(bytes), GATE_DOCUMENTS.taskPack);
}

/** All of a run's entries, in their order. */
export async function entriesOf(
  { installation, tenantId }: Pick<RunOptions, "installation" | "tenantId">,
  runId: string,
): Promise<PlacedEntry[]> {
  const entries: PlacedEntry[] = [];
  for await (const entry of readRun(installation.store, tenantId, runId)) entries.push(entry);
  return entries;
}

function attested(entries: readonly PlacedEntry[], type: string): boolean {
  return entries.some(({ entry }) => {
    if (entry.event_type !== "attestation.issued") return false;
    return (entry.data as EntryData<"attestation.issued">).predicate_type === type;
  });
}

function diverged(runId: string): SovereignError {
  const text = `The task pack of run ${runId} is not the one that its request names. Start a new run.`;
  return new SovereignError("ERR_RUN_DIVERGED", text, { runId });
}
