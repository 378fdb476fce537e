import { join } from "node:path";
import { type ErrorCode, SovereignError } from "@sovereign/core";
import type { ScramGate } from "../../kernel/index.ts";
import { refusalOfWork, type WorkOwner } from "../../scram/index.ts";
import type { Installation } from "../../installation/index.ts";

const RESET = "sovereign scram reset --operator-key NAME --architect-key NAME --reason TEXT";

/**
 * What is gone on with while the kill switch is tripped would end for ever at its next action: so it
 * is not begun, and stays as it is.
 *
 * @throws ERR_SCRAM_TRIPPED, ERR_SCRAM_UNREADABLE
 */
export function requireArmed({ scram }: Pick<Installation, "scram">, owner: WorkOwner): void {
  const gate = scram.preflight(owner);
  if (!gate.armed) throw refusal(gate.code, gate.reason, owner.run_id);
}

/**
 * The same by the sentinel's word, right before a run's first entry. A sentinel that was started for
 * it carries out the calls that waited, and stops everything in doubt. That it is lost is another
 * matter: then the run waits.
 *
 * @param next what to type after a reset; null where nothing of the run is recorded
 */
export function requireUntripped(scram: ScramGate, owner: WorkOwner, next: string | null): void {
  const gate = scram.preflight(owner);
  if (gate.armed || !STOPPED.has(gate.code)) return;
  throw refusal(gate.code, gate.reason, next === null ? null : owner.run_id, next);
}

const STOPPED: ReadonlySet<ErrorCode> = new Set(["ERR_SCRAM_TRIPPED", "ERR_SCRAM_UNREADABLE"]);

/**
 * The same before anything is started for a command: a refusal needs no database and no sentinel.
 *
 * @param runId the run that would go on; null for a new one
 * @throws ERR_SCRAM_TRIPPED, ERR_SCRAM_UNREADABLE
 */
export function refuseWhileTripped(home: string, tenantId: string, runId: string | null): void {
  const owner = { tenant_id: tenantId, run_id: runId ?? "" };
  const found = refusalOfWork(join(home, "scram"), owner);
  if (found !== null) throw refusal(found.code, found.reason, runId);
}

function refusal(
  code: ErrorCode,
  reason: string,
  runId: string | null,
  resume: string | null = null,
): SovereignError {
  const next =
    runId === null
      ? `Nothing was started. When it is safe to go on, two people type: ${RESET}`
      : `Run ${runId} stays as it is. When it is safe to go on, two people type: ${RESET}; then: ${resume ?? `sovereign run resume ${runId}`}`;
  const text = `The kill switch is ${reason}. ${next}`;
  return new SovereignError(code, text, runId === null ? {} : { runId });
}
