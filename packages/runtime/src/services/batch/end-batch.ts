import { GENESIS_HASH, type JsonObject, parseCanonicalJson, SovereignError } from "@sovereign/core";
import { parseBatchContent } from "../../batch/index.ts";
import type { RunRow } from "../../runs/index.ts";
import { waitingForKeys } from "../../installation/index.ts";
import { openRunSession, type SessionOptions } from "../runs/open-session.ts";
import { publishSealed, sealRun } from "../runs/seal-run.ts";
import { requireArmed } from "../runs/require-armed.ts";
import type { RunResult } from "../runs/run-result.ts";

const CUT_SHORT = "The batch was cut short. What had not begun was not run.";

/**
 * End a batch that was left open by a kill, or for want of a key. Its commands are not run again,
 * because a batch keeps no copy of its policy: it is sealed as what it was.
 *
 * @throws ERR_RUN_SEALED where it has ended
 */
export async function endBatch(options: SessionOptions, row: RunRow): Promise<RunResult> {
  const { runId, tenantId, mode, name } = row;
  if (row.sealed !== null) return publishSealed(options, row);
  requireArmed(options.installation, { tenant_id: tenantId, run_id: runId });
  const plan = parseCanonicalJson(row.plan) as JsonObject;
  const { actions = [], metadata = {} } = plan;
  const batch = parseBatchContent(name, { actions, metadata });
  const opened = await openRunSession(options, {
    runId,
    name,
    mode,
    plan,
    policy: { policyDigest: GENESIS_HASH, decide: nothing },
    config: {},
    row,
    demands: { minimumLevel: "G2", backend: "bubblewrap" },
    artifacts: "artifacts",
    effects: () => ({}),
  });
  const { session } = opened;
  try {
    return await waitingForKeys(session, `sovereign run resume ${runId}`, async () => {
      await session.note("run.resumed", "INFO", { from: row.status });
      const done = batch.actions.every(({ id }) => session.isDone(id));
      const status = done ? "completed" : "failed";
      const reason = done ? null : CUT_SHORT;
      const published = await sealRun(options, opened, status, reason);
      return { runId, status, reason, outcome: null, code: null, ...published, artifacts: [] };
    });
  } finally {
    opened.stopWatching();
  }
}

function nothing(): never {
  throw new SovereignError("ERR_BINDING_REFUSED", CUT_SHORT);
}
