import type { Mode } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { INSTALLATION_KEYS, type KeySlot } from "../../authority/index.ts";
import { type RunInput, reportOf } from "./run-result.ts";
import type { Services } from "../services.ts";
import { type Pipeline, parsePipeline } from "../../pipeline/index.ts";
import { approveRun } from "./approvals.ts";
import { cancelRun } from "./cancel-run.ts";
import { describeRun } from "./run-details.ts";
import { followRunLogs, readRunLogs } from "./run-log.ts";
import type { Installation } from "../../installation/index.ts";
import type { Opened } from "../opened.ts";
import { enrolFirstUse } from "./first-use.ts";
import { requireRoles } from "./required-roles.ts";
import { resumeRun } from "./kinds.ts";
import { submitPipeline } from "./pipeline-kind.ts";
import type { Settings } from "../../home/index.ts";

export function runServices(
  settings: Settings,
  opened: Opened,
): Pick<
  Services,
  | "run"
  | "resume"
  | "cancelRun"
  | "approve"
  | "listRuns"
  | "showRun"
  | "readRunLogs"
  | "followRunLogs"
> {
  const { allowCompatible } = settings;
  const submit = (
    installation: Installation,
    input: RunInput,
  ): RunInput & {
    installation: Installation;
    allowCompatible: boolean;
  } => ({ ...input, installation, allowCompatible });
  return {
    run: (file, input) =>
      opened(async (installation) => {
        const pipeline = parsePipeline(readNamed(file), file);
        await ensureKeys(installation, settings, pipeline, input);
        const options = { ...submit(installation, input), pipeline: file };
        const { mode, faults } = input;
        return reportOf(await submitPipeline({ ...options, mode, faults }));
      }),
    resume: (runId, input) =>
      opened(async (installation) => {
        const options = { ...submit(installation, input), waitMs: 0 };
        return reportOf(await resumeRun(options, runId));
      }),
    cancelRun: (runId, input, cancelled) =>
      opened(async (installation) => {
        const options = { ...submit(installation, input), waitMs: 0 };
        return reportOf(await cancelRun(options, runId, cancelled));
      }),
    approve: (tenantId, runId, role) =>
      opened((installation) => approveRun(installation, tenantId, runId, role)),
    listRuns: (tenantId, wanted) =>
      opened((installation) => installation.store.listRuns(tenantId, wanted)),
    showRun: (tenantId, runId) =>
      opened((installation) => describeRun(installation, tenantId, runId)),
    readRunLogs: (tenantId, runId, step) =>
      opened((installation) => readRunLogs(installation, tenantId, runId, step)),
    followRunLogs: (tenantId, runId, step, signal, tell) =>
      opened((installation) =>
        followRunLogs(installation, { tenantId, runId, step }, signal, tell),
      ),
  };
}

async function ensureKeys(
  installation: Installation,
  settings: Settings,
  pipeline: Pipeline,
  input: RunInput & { readonly mode: Mode },
): Promise<void> {
  const { keyLog, keystore } = installation;
  const roles = new Set<string>();
  for (const stage of pipeline.stages) {
    roles.add(stage.role);
    if (stage.type === "agent_chain") for (const agent of stage.agents) roles.add(agent.role);
  }
  await keyLog.ensure(keystore, [
    ...INSTALLATION_KEYS,
    ...[...roles].map((role): KeySlot => ({ purpose: "role", role })),
    ...pipeline.governance.approvals.roles.map((role): KeySlot => ({ purpose: "approval", role })),
  ]);
  // The roles are the pipeline's words; the approvers are the user's.
  const asks = pipeline.governance.approvals.roles;
  await enrolFirstUse(installation, settings, { role: "", asks }, input);
  if (input.mode === "sovereign") requireRoles(keyLog.current(), [...roles]);
}
