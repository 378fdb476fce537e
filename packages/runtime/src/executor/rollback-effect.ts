import { join } from "node:path";
import { canonicalBytes, GATE_DOCUMENTS, SovereignError } from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import { defineEffect, type Effect } from "../kernel/index.ts";
import type { ArtifactStore } from "../runs/index.ts";
import { completed } from "./effect-output.ts";
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

/** Bring the user's branch back to where a run began, and prove it. */
export function createRollbackEffect(options: RollbackEffectOptions): Effect {
  const { repository, artifacts, folder, clock } = options;
  return defineEffect("git.rollback", async ({ params, context }) => {
    const { of_run, ref, base, head } = params;
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
  });
}
