import { join } from "node:path";
import {
  type ArtifactRef,
  type EntryData,
  isSovereignError,
  SovereignError,
} from "@sovereign/core";
import type { Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { ArtifactStore, hasDocuments, type RunRow } from "../../runs/index.ts";
import { breakerServices } from "../breaker-services.ts";
import { budgetServices } from "../budgets/budget-services.ts";
import { evidenceServices } from "../evidence-services.ts";
import { goalServices } from "../goals/goal-services.ts";
import { incidentServices } from "../incidents/incident-services.ts";
import type { Opened } from "../opened.ts";
import { skillServices } from "../skill-services.ts";
import { describeRun } from "../runs/run-details.ts";
import { runNotFound } from "../runs/run-folder.ts";
import { runServices } from "../runs/run-services.ts";
import { refuseWhileTripped } from "../runs/require-armed.ts";
import { requeueRun, requireWaiting } from "../workers/requeue-run.ts";
import type {
  ApiServices,
  Page,
  Readiness,
  RunEvent,
  ServerEvent,
  SubmittedGoal,
} from "./api-ports.ts";
import { openAuthenticator } from "./authenticator.ts";
import { type ApiIdentity, callerName, callerOf } from "./identity.ts";
import { KeptInstallation } from "./kept-installation.ts";
import { leftBehind, type Lost } from "./left-behind.ts";
import { type Begun, type Carrier, LocalCarrier } from "./local-carrier.ts";
import { rest } from "../../system/index.ts";

const LIMITS = { all: 8, perTenant: 4 } as const;
/** The server's callers hold no keys here: they consent to nothing. */
const ROLE = "runner";
const ROOM_MS = 500;

/**
 * @param opened opens an installation for as long as its work takes
 * @param carries false where runs are left to workers
 */
export function openApiServices(
  settings: Settings,
  opened: Opened,
  onEvent: (event: ServerEvent) => void,
  carries = true,
): ApiServices {
  const kept = new KeptInstallation(opened);
  const carrier = new LocalCarrier(LIMITS, (tenant, run, error) => {
    // What was refused before there was a run was told to its caller.
    if (run === null) return;
    const why = error instanceof Error ? error.message : null;
    onEvent({ event: why === null ? "run.ended" : "run.lost", tenant, run, why });
  });
  const { judge, takesOidc } = openAuthenticator(settings, kept.look, ({ message }) => {
    onEvent({ event: "oidc.unavailable", why: message });
  });
  return {
    authenticate: async (token) => (await judge(token)).identity,
    hasCredential: async () =>
      takesOidc || (await kept.look(({ store }) => store.tokens.count())) > 0,
    ...readingServices(settings, kept),
    ...runningServices(settings, kept, { carrier, carries }, onEvent),
    readiness: () => readinessOf(settings, kept),
    close: async (drainMs) => {
      await carrier.close(drainMs);
      await kept.close();
    },
  };
}

type Running = Pick<ApiServices, "submitGoal" | "resumeRun" | "retryRun" | "cancelRun" | "recover">;

function runningServices(
  settings: Settings,
  kept: KeptInstallation,
  { carrier, carries }: { readonly carrier: Carrier; readonly carries: boolean },
  onEvent: (event: ServerEvent) => void,
): Running {
  const goals = goalServices(settings, kept.work);
  const runs = runServices(settings, kept.work);
  const resume = (tenantId: string, runId: string, retryFailed = false): Promise<Begun> => {
    refuseWhileTripped(settings.home, tenantId, runId);
    return carrier.start(tenantId, (begun, signal) => {
      const onProgress = onBegun(begun, false);
      return runs.resume(runId, { tenantId, approvers: [], signal, onProgress, retryFailed });
    });
  };
  const goOn = async (tenantId: string, runId: string, retryFailed: boolean): Promise<Begun> => {
    const row = await kept.look((place) => rowOf(place, tenantId, runId));
    requireWaiting(row);
    if (carries) return resume(tenantId, runId, retryFailed);
    refuseWhileTripped(settings.home, tenantId, runId);
    await kept.look((place) => requeueRun(place, row, { priority: 0, retryFailed }));
    return { runId, isNew: false };
  };
  return {
    submitGoal: (caller, goal) => {
      const { tenantId } = caller;
      refuseWhileTripped(settings.home, tenantId, null);
      return carrier.start(tenantId, (begun, signal) =>
        goals.runGoal({
          ...goal,
          tenantId,
          planFile: null,
          planner: plannerOf(goal),
          policyFile: null,
          role: ROLE,
          priority: carries ? null : goal.priority,
          approvers: [],
          caller: callerOf(caller),
          signal,
          onProgress: onBegun(begun, true),
        }),
      );
    },
    resumeRun: ({ tenantId }, runId) => goOn(tenantId, runId, false),
    retryRun: ({ tenantId }, runId) => goOn(tenantId, runId, true),
    cancelRun: async (caller, runId, reason) => {
      requireGoal(await kept.look((place) => rowOf(place, caller.tenantId, runId)));
      return cancelGoal(runs, caller, runId, reason);
    },
    recover: async (signal) => {
      const lost: Lost = (tenant, run, error) => {
        const why = error instanceof Error ? error.message : "unknown";
        onEvent({ event: "run.lost", tenant, run, why });
      };
      const left = await kept.look((place) => leftBehind(settings, place, lost));
      for (const { tenantId, runId, isQuestion } of left) {
        // Workers find by themselves what was left to them. Questions to models are asked here.
        if (!carries && !isQuestion) continue;
        try {
          await whenThereIsRoom(() => resume(tenantId, runId), signal);
          onEvent({ event: "run.recovered", tenant: tenantId, run: runId, why: null });
        } catch (error) {
          lost(tenantId, runId, error);
        }
        if (signal.aborted) return;
      }
    },
  };
}

function plannerOf({ plan, plannerModel }: SubmittedGoal): "file" | "model" | "stub" {
  if (plan !== null) return "file";
  return plannerModel === null ? "stub" : "model";
}

async function cancelGoal(
  runs: ReturnType<typeof runServices>,
  caller: ApiIdentity,
  runId: string,
  reason: Parameters<Running["cancelRun"]>[2],
): ReturnType<Running["cancelRun"]> {
  const { signal } = new AbortController();
  const { tenantId } = caller;
  const input = { tenantId, approvers: [], signal, onProgress: () => undefined };
  const ended = await runs.cancelRun(runId, input, { by: callerName(caller), reason });
  return { runId, status: ended.status, reason: ended.reason };
}

/** @throws ERR_HTTP_BUSY where there is none when the signal comes */
async function whenThereIsRoom(begin: () => Promise<Begun>, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await begin();
      return;
    } catch (error) {
      if (!isSovereignError(error, "ERR_HTTP_BUSY") || signal.aborted) throw error;
      await rest(ROOM_MS, signal);
    }
  }
}

/** @throws ERR_RUN_SEALED, ERR_REQUEST_INVALID */
function requireGoal({ runId, kind, status, sealed }: RunRow): void {
  if (sealed !== null)
    throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${status}.`);
  if (kind === "goal") return;
  const text = `Expected the run of a goal, found ${kind}. Only a command of the machine goes on with it, or ends it.`;
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}

type Progress = Parameters<
  Parameters<ReturnType<typeof goalServices>["runGoal"]>[0]["onProgress"]
>[0];

/** A goal is told to have started once its first entry is durable. That a model is asked is no start. */
function onBegun(begun: (run: Begun) => void, isNew: boolean): (progress: Progress) => void {
  return (progress) => {
    const { event } = progress;
    if (event !== "goal.started" && event !== "goal.resumed") return;
    if (isNew && progress.planner === "question") return;
    begun({ runId: progress.run, isNew });
  };
}

type Reading = Omit<
  ApiServices,
  "authenticate" | "hasCredential" | "readiness" | "close" | keyof Running
>;

function readingServices(settings: Settings, { look }: KeptInstallation): Reading {
  const goals = goalServices(settings, look);
  const evidence = evidenceServices(look);
  const incidents = incidentServices(look);
  return {
    listIncidents: (tenantId, wanted) => incidents.listIncidents(tenantId, wanted),
    showIncident: (tenantId, id) => incidents.showIncident(tenantId, id),
    acknowledgeIncident: (caller, id) =>
      incidents.acknowledgeIncident(caller.tenantId, id, callerName(caller)),
    resolveIncident: (caller, id, note) =>
      incidents.resolveIncident(caller.tenantId, id, callerName(caller), note),
    showBudgets: async (tenantId, runId) => {
      if (runId !== null) await look((place) => rowOf(place, tenantId, runId));
      return budgetServices(look).showBudgets(tenantId, runId);
    },
    listBreakers: (tenantId) => breakerServices(look).listBreakers(tenantId),
    listRuns: (tenantId, page) => look((place) => listPage(place, tenantId, page)),
    showRun: (tenantId, runId) => look((place) => describeRun(place, tenantId, runId)),
    traceRun: async (tenantId, runId) => {
      await look((place) => rowOf(place, tenantId, runId));
      return goals.traceRun(tenantId, runId);
    },
    proveRun: goals.proveRun,
    exportBundle: async (tenantId, runId) => {
      const row = await look((place) => rowOf(place, tenantId, runId));
      if (row.sealed !== null) return evidence.exportBundle(tenantId, runId, hasDocuments(row));
      const text = `Run ${runId} has not ended, so it has no evidence yet.`;
      throw new SovereignError("ERR_RUN_UNSEALED", text);
    },
    listArtifacts: (tenantId, runId) => look((place) => artifactsOf(place, tenantId, runId)),
    readArtifact: (tenantId, runId, sha256) =>
      look((place) => readArtifact(place, tenantId, runId, sha256)),
    readEvents: (tenantId, runId, from) =>
      look((place) => readEvents(place, tenantId, runId, from)),
    trustRoot: () =>
      look(async ({ keyLog }) => {
        await keyLog.refresh();
        return keyLog.trustRoot();
      }),
    listSkills: async (tenantId) => ({
      skills: goals.listSkills(),
      own: await skillServices(settings).ownSkills(tenantId),
    }),
  };
}

async function listPage({ store }: Installation, tenantId: string, page: Page): Promise<RunRow[]> {
  const { after, ...wanted } = page;
  if (after === null) return store.listRuns(tenantId, wanted);
  if ((await store.findRun(tenantId, after)) === null) {
    const text = `The cursor ${after} is none of a page before.`;
    throw new SovereignError("ERR_HTTP_REQUEST", text);
  }
  return store.listRuns(tenantId, { ...wanted, after });
}

async function rowOf(place: Installation, tenantId: string, runId: string): Promise<RunRow> {
  const row = await place.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(place, tenantId, runId);
  return row;
}

async function artifactsOf(
  place: Installation,
  tenantId: string,
  runId: string,
): Promise<ArtifactRef[]> {
  await rowOf(place, tenantId, runId);
  const found = new Map<string, ArtifactRef>();
  for await (const { entry } of readRun(place.store, tenantId, runId)) {
    const { event_type: event, data } = entry;
    if (event !== "execution.completed" && event !== "evidence.recorded") continue;
    for (const ref of (data as EntryData<"evidence.recorded">).artifacts) found.set(ref.name, ref);
  }
  return [...found.values()];
}

/** By what the ledger of this tenant says: a digest of another's bytes leads nowhere. */
async function readArtifact(
  place: Installation,
  tenantId: string,
  runId: string,
  sha256: string,
): Promise<Uint8Array> {
  const row = await rowOf(place, tenantId, runId);
  const named = (await artifactsOf(place, tenantId, runId)).find((ref) => ref.sha256 === sha256);
  if (named === undefined) {
    const text = `Run ${runId} has no artifact with this digest.`;
    throw new SovereignError("ERR_ARTIFACT_NOT_FOUND", text);
  }
  const folder = place.folder.run(runId);
  if (hasDocuments(row)) return new ArtifactStore(folder).get(named);
  // A worker of another node may have made it.
  const contents = place.contents?.(tenantId) ?? null;
  return new ArtifactStore(join(folder, "artifacts"), contents).get(named);
}

/** The most entries that are read at once. */
const EVENTS_MAX = 500;

async function readEvents(
  place: Installation,
  tenantId: string,
  runId: string,
  from: number,
): Promise<{ events: RunEvent[]; ended: boolean }> {
  // Asked first: what is recorded between the two is read by the second.
  const { sealed } = await rowOf(place, tenantId, runId);
  const events: RunEvent[] = [];
  for await (const { hash, entry } of readRun(place.store, tenantId, runId, from)) {
    events.push({ sequence: entry.sequence, hash, entry });
    if (events.length === EVENTS_MAX) return { events, ended: false };
  }
  return { events, ended: sealed !== null };
}

/** Whether a goal that is submitted now would be begun. */
async function readinessOf({ home }: Settings, { work }: KeptInstallation): Promise<Readiness> {
  try {
    refuseWhileTripped(home, "", null);
    await work(async ({ store }) => {
      await store.tokens.count();
    });
    return { ready: true, code: null };
  } catch (error) {
    return { ready: false, code: isSovereignError(error) ? error.code : "ERR_HTTP_FAILED" };
  }
}
