import { formats, type Mode, parseFormat, SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { INSTALLATION_KEYS, type KeySlot } from "../../authority/index.ts";
import type { ExecFiles, ExecInput, ExecPlanReport } from "./exec-reports.ts";
import type { Services } from "../services.ts";
import {
  inspectRepository,
  isLockStale,
  readHead,
  REVIEWER,
  ReviewedPolicy,
  workLimits,
} from "../../executor/index.ts";
import { findTools } from "./find-tools.ts";
import { PolicyEngine } from "../../policy/index.ts";
import { openDataFolder, type Settings } from "../../home/index.ts";
import { systemClock } from "../../system/index.ts";
import { type RunOptions, submitRun } from "../runs/lifecycle.ts";
import { judgeRun } from "./judge-run.ts";
import { answerTemplate, applyAnswers } from "./questions.ts";
import type { Installation } from "../../installation/index.ts";
import { freeRepository, openRequest } from "./repository-state.ts";
import { execStatus } from "./exec-status.ts";
import { rollbackRequest } from "./rollback-kind.ts";
import { runNotFound } from "../runs/run-folder.ts";
import { type ReadRequest, readRequest } from "./exec-context.ts";
import { EXECUTION } from "./execution-kind.ts";
import { resumeRun } from "../runs/kinds.ts";
import { askedRoles } from "../runs/asked-roles.ts";
import { enrolFirstUse } from "../runs/first-use.ts";
import { requireRoles } from "../runs/required-roles.ts";
import { reportOf } from "../runs/run-result.ts";
import type { Opened } from "../opened.ts";
import { hasDocuments } from "../../runs/index.ts";

type ExecServices = Pick<
  Services,
  | "planRequest"
  | "runRequest"
  | "resumeRequest"
  | "requestStatus"
  | "rollbackRequest"
  | "judgeRun"
  | "answerTemplate"
  | "applyAnswers"
>;

/** Executions of requests on a repository. */
export function execServices(settings: Settings, opened: Opened): ExecServices {
  const { allowCompatible } = settings;
  const optionsOf = (installation: Installation, input: ExecInput): RunOptions => ({
    ...input,
    installation,
    allowCompatible,
  });
  return {
    planRequest: (files, tenantId) => planRequest(settings, files, tenantId),
    runRequest: (files, input) => {
      // Before anything is started for it: what cannot be read is refused at once.
      const read = readRequest(files, systemClock, settings.home);
      return opened(async (installation) => {
        await ensureKeys(installation, settings, read, input);
        const { repository } = files;
        const { environment } = settings;
        const wanted = { read, repository, mode: input.mode, environment };
        return reportOf(await submitRun(EXECUTION, optionsOf(installation, input), wanted));
      });
    },
    resumeRequest: (runId, input) =>
      opened(async (installation) => {
        const row = await installation.store.findRun(input.tenantId, runId);
        if (row !== null && !hasDocuments(row)) throw notExecuted(runId);
        return reportOf(await resumeRun(optionsOf(installation, input), runId));
      }),
    requestStatus: (runId, input) =>
      opened((installation) => execStatus(optionsOf(installation, input), runId)),
    rollbackRequest: (runId, input) =>
      opened(async (installation) =>
        reportOf(await rollbackRequest(optionsOf(installation, input), runId)),
      ),
    judgeRun: (tenantId, runId) =>
      opened(async (installation) => {
        // Of a run that is nowhere no gate would fail.
        const row = await installation.store.findRun(tenantId, runId);
        if (row === null) throw await runNotFound(installation, tenantId, runId);
        if (!hasDocuments(row)) throw notJudged(runId);
        return judgeRun(installation, tenantId, runId);
      }),
    answerTemplate: (tenantId, runId) =>
      opened(async (installation) => {
        const { frozen } = await openRequest(installation, tenantId, runId);
        const pack = frozen.planned.request.question_pack;
        if (pack === undefined) {
          const text = `The request of run ${runId} asks no questions.`;
          throw new SovereignError("ERR_ANSWERS_INVALID", text);
        }
        return answerTemplate(pack, installation.clock);
      }),
    applyAnswers: (tenantId, runId, file) =>
      opened(async (installation) => {
        const { row, frozen, folder } = await openRequest(installation, tenantId, runId);
        if (row.sealed !== null) {
          throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${row.status}.`);
        }
        const pack = frozen.planned.request.question_pack;
        await applyAnswers(folder, pack, readNamed(file));
      }),
  };
}

function notExecuted(runId: string): SovereignError {
  const text = `Run ${runId} is no execution of a request: try sovereign run resume ${runId}`;
  return new SovereignError("ERR_REQUEST_INVALID", text, { runId });
}

/** A verdict without a gate would be said of it, and read as theirs. */
function notJudged(runId: string): SovereignError {
  const text = `No gate judges run ${runId}: expected an execution or a rollback, found neither. Its evidence is checked by: sovereign verify`;
  return new SovereignError("ERR_REQUEST_INVALID", text, { runId });
}

/** What a request would do, and what policy says to each of it. Nothing is run or recorded. */
async function planRequest(
  settings: Settings,
  files: ExecFiles,
  tenantId: string,
): Promise<ExecPlanReport> {
  const { planned, policy: compiled } = readRequest(files, systemClock, settings.home);
  const policy = new ReviewedPolicy(new PolicyEngine(compiled));
  const repository = await inspectRepository(files.repository);
  // What a killed run holds is let go by whoever comes next.
  if (isLockStale(repository)) {
    await freeRepository({ folder: openDataFolder(settings.home) }, repository);
  }
  const base = await readHead(repository);
  const context = {
    tenant_id: tenantId,
    run_id: `run_${"a".repeat(20)}`,
    step_id: "plan",
    attempt: 1,
    role: planned.request.role,
    mode: "sovereign",
    config_digest: "0".repeat(64),
    policy_digest: compiled.digest,
  } as const;
  const ask = (step: string, operation: string, value: object): ExecPlanReport["decisions"][0] => {
    const action = parseFormat(formats.action, value, `${step}.${operation}`);
    const { type, resource } = action;
    const { effect, rules, reasons } = policy.decide(action, context);
    return { step, operation, type, resource, effect, why: [...rules, ...reasons].join("; ") };
  };
  const decisions = planned.steps.flatMap((step) => [
    ...step.operations.map((one) => ask(step.stepId, one.opId, one.action)),
    ask(step.stepId, "commit", { type: "git.commit", resource: step.stepId, params: {} }),
  ]);
  const back = { review: planned.request.requires_review };
  const last = { type: "git.bring_back", resource: base.ref ?? "HEAD", params: back };
  const limits = workLimits(compiled);
  const { home: dataFolder, environment } = settings;
  const tools = await findTools(compiled, repository, base, { environment, dataFolder });
  return {
    request: planned.request.exec_request_id,
    digest: planned.digest,
    repository: repository.root,
    base: base.commit,
    limits: {
      files: limits.filesMax,
      file_bytes: limits.fileBytesMax,
      timeout_ms: limits.timeoutMs,
    },
    tools,
    decisions: [...decisions, ask("end", "bring_back", last)],
  };
}

/** A new installation gets its keys at its first run. */
export async function ensureKeys(
  installation: Installation,
  settings: Settings,
  { planned: { request }, policy }: ReadRequest,
  input: ExecInput & { readonly mode: Mode },
): Promise<void> {
  const { keyLog, keystore } = installation;
  const approvers = new Set(askedRoles(policy));
  if (request.requires_review) approvers.add(REVIEWER);
  if (keyLog.head().count > 0) {
    const needed = { role: request.role, asks: [...approvers] };
    await enrolFirstUse(installation, settings, needed, input);
    if (input.mode === "sovereign") requireRoles(keyLog.current(), [request.role]);
    return;
  }
  await keyLog.ensure(keystore, [
    ...INSTALLATION_KEYS,
    { purpose: "role", role: request.role },
    ...[...approvers].map((role): KeySlot => ({ purpose: "approval", role })),
  ]);
}
