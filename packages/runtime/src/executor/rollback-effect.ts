import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  GATE_DOCUMENTS,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { Clock } from "../system/index.ts";
import type { Effect } from "../kernel/index.ts";
import type { ArtifactStore } from "../runs/index.ts";
import { completed, gitId } from "./effect-output.ts";
import { rollbackProofOf } from "./evidence.ts";
import { keepCommit, type UserRepository } from "./git/index.ts";
import { rollBack } from "./repository/rollback.ts";
import { recoverSwitch } from "./repository/tree-switch.ts";

export interface RollbackEffectOptions {
  readonly repository: UserRepository;
  readonly artifacts: ArtifactStore;
  readonly folder: string;
  readonly clock: Clock;
}

const params = z.strictObject({
  of_run: fields.runId,
  ref: z.string().nullable(),
  base: gitId,
  head: gitId,
});

/** Bring the user's branch back to where a run began, and prove it. */
export function createRollbackEffect(options: RollbackEffectOptions): Effect {
  const { repository, artifacts, folder, clock } = options;
  return async ({ action, context }) => {
    const { of_run, ref, base, head } = parseFormat(params, action.params, "rollback");
    // Once the branch is back, nothing else may name where it was.
    await keepCommit(repository, of_run, "rolled-back", head);
    const moved = (await recoverSwitch(join(folder, "switch"), repository)) === "done";
    const at = Math.floor(clock.now().getTime() / 1000);
    const { kept: foreign, ...back } = await rollBack({
      repository,
      base,
      head,
      ref,
      folder,
      at,
      moved,
    });
    const proof = rollbackProofOf(context.run_id, of_run, back, clock);
    const bytes = canonicalBytes(proof);
    const kept = await artifacts.put(GATE_DOCUMENTS.rollbackProof, bytes, "application/json");
    if (!proof.success) {
      const text = "The rollback did not restore everything: see 03_executor/rollback_proof.json.";
      throw new SovereignError("ERR_BRING_BACK_MISMATCH", text);
    }
    const { tree, files_changed_count } = proof;
    const found = foreign.map((one) => ({ ...one }));
    const more = found.length === 0 ? {} : { kept: found };
    return completed({ base, head, tree, files_changed: files_changed_count, ...more }, [kept]);
  };
}
