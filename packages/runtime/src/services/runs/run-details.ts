import { join } from "node:path";
import { GATE_DOCUMENTS } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import type { RunRow } from "../../runs/index.ts";
import { carriersText } from "../workers/queue-place.ts";
import { publicationOf } from "./publication.ts";
import { runNotFound } from "./run-folder.ts";
import { publishedAt } from "./seal-run.ts";
import { resumeCommand } from "./resume-command.ts";

/** A run of any kind, as `runs show` tells it. */
export interface RunDetails {
  readonly runId: string;
  readonly kind: string;
  readonly name: string;
  readonly status: string;
  readonly reason: string | null;
  readonly mode: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Where its documents and its evidence lie. */
  readonly folder: string;
  /** The request that it carries out, as it was frozen; null where it is of another kind. */
  readonly request: string | null;
  /** Null where it is not published in this data folder. */
  readonly bundle: string | null;
  readonly trustRoot: string | null;
  /** Whether its evidence can be exported, wherever it was carried out. */
  readonly published: boolean;
  /** Which workers may carry it out, in words; null where it is left to none. */
  readonly workers: string | null;
  readonly steps: readonly {
    readonly step: string;
    readonly status: string;
    readonly attempt: number;
  }[];
  /** The command that goes on with it, or exports evidence that is not here; null where it has ended here. */
  readonly next: string | null;
}

/** @throws ERR_RUN_NOT_FOUND */
export async function describeRun(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<RunDetails> {
  const { store } = installation;
  const row = await store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  const steps = await store.listSteps(tenantId, runId);
  const files = publishedAt(installation, runId);
  const publication = await publicationOf(installation, row);
  const isHere = publication === "here";
  const published = publication !== null && publication !== "coming";
  const carriers = await store.queue.carriersOf(tenantId, runId);
  const { kind, name, status, reason, mode, createdAt, updatedAt, sealed } = row;
  return {
    runId,
    kind,
    name,
    status,
    reason,
    mode,
    createdAt,
    updatedAt,
    folder: installation.folder.run(runId),
    request:
      kind === "exec_request" ? join(installation.folder.run(runId), GATE_DOCUMENTS.request) : null,
    bundle: isHere ? files.bundle : null,
    trustRoot: isHere ? files.trustRoot : null,
    published,
    workers: carriers === null ? null : carriersText(carriers),
    steps: steps.map(({ stepId: step, status, attempt }) => ({ step, status, attempt })),
    next: sealed !== null && published ? exportCommand(isHere, row) : resumeCommand(row),
  };
}

/** Another node may have carried it out, and has the files. */
function exportCommand(isHere: boolean, { runId, tenantId }: RunRow): string | null {
  return isHere ? null : `sovereign bundle export ${runId} --tenant ${tenantId}`;
}
