import { parseCanonicalJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import type { ModelRegistry, VersionRecord } from "./registry/index.ts";

/** The ledger's word on the switches of a tenant's models. */
export interface SwitchHistory {
  /** The recorded ends of completed steps that hold these bytes, in canonical JSON. */
  completedOutputs(
    tenant: string,
    holding: string,
  ): Promise<readonly { readonly runId: string; readonly output: Uint8Array }[]>;
  /** A run of the tenant, and whether it has ended for ever; null for one that is not the tenant's. */
  findRun(tenant: string, runId: string): Promise<{ readonly sealed: object | null } | null>;
}

/** Which model a switch replaces; what approvals of it name. */
export type Replaced = { version: number; sha256: string };

const promotion = z.object({
  output: z.object({ model: z.string(), version: z.int(), digest: z.string() }),
});
const rollback = z.object({
  output: z.object({ model: z.string(), run_id: z.string(), after: z.string() }),
});

/** Models as the registry has them, held against what the ledger recorded of them. */
export class SwitchedModels {
  readonly #registry: Pick<ModelRegistry, "history">;
  readonly #ledger: SwitchHistory;
  readonly #tenant: string;
  readonly #isOwn: (runId: string) => boolean;

  /**
   * @param isOwn false for a run that another machine carried out: its switches are in the registry of
   *   that one
   */
  constructor(
    registry: Pick<ModelRegistry, "history">,
    ledger: SwitchHistory,
    tenant: string,
    isOwn: (runId: string) => boolean,
  ) {
    this.#registry = registry;
    this.#ledger = ledger;
    this.#tenant = tenant;
    this.#isOwn = isOwn;
  }

  /**
   * What is current of a model now.
   *
   * @throws ERR_REGISTRY_CORRUPT when a switch that the ledger recorded is not in the registry: it
   *   was cut back, emptied or set back. Also when the last switches are of a run that has ended, and
   *   the ledger recorded none of them: somebody put them there.
   */
  async current(model: string): Promise<Replaced | null> {
    const history = await this.#registry.history(model);
    const holding = `"model":${JSON.stringify(model)}`;
    let recorded = 0;
    for (const { runId, output } of await this.#ledger.completedOutputs(this.#tenant, holding)) {
      const end = parseCanonicalJson(output);
      recorded = Math.max(recorded, this.#check(model, history, end, this.#isOwn(runId)));
    }
    // Approvals of a recorded switch name what it replaced, so those before it were seen.
    for (const one of history.slice(recorded)) await this.#expectOpen(one);
    const last = history.at(-1);
    return last === undefined ? null : { version: last.version, sha256: last.digest };
  }

  /** A run that goes on may have been killed before it could record its switch. */
  async #expectOpen({ model, version, run_id }: VersionRecord): Promise<void> {
    const run = await this.#ledger.findRun(this.#tenant, run_id);
    if (run === null || run.sealed === null) return;
    throw new SovereignError(
      "ERR_REGISTRY_CORRUPT",
      `model ${model}: the registry has switch ${version} of ${run_id}, which has ended and did not record it. Put the file of that switch, and of those after it, out of registry/models/${model}/ to have the version before it again.`,
      { model, found: version },
    );
  }

  /** @returns the number of the recorded switch; 0 for what is none of this model */
  #check(
    model: string,
    history: readonly VersionRecord[],
    recorded: unknown,
    isOwn: boolean,
  ): number {
    const promoted = promotion.safeParse(recorded).data?.output;
    if (promoted?.model === model) {
      const { version, digest } = promoted;
      if (history[version - 1]?.digest === digest) return version;
      if (!isOwn) return 0;
      throw missing(model, history.length, `switch ${version} to ${digest}`);
    }
    const back = rollback.safeParse(recorded).data?.output;
    if (back?.model !== model) return 0;
    const { run_id, after } = back;
    const found = history.findLast(
      (one) => one.kind === "rollback" && one.run_id === run_id && one.digest === after,
    );
    if (found !== undefined) return found.version;
    if (!isOwn) return 0;
    throw missing(model, history.length, `the rollback of ${run_id} to ${after}`);
  }
}

function missing(model: string, found: number, recorded: string): SovereignError {
  return new SovereignError(
    "ERR_REGISTRY_CORRUPT",
    `model ${model}: the ledger recorded ${recorded}; the registry has ${found} switches, and not that one. It was cut back or set back: restore the folder registry/ from a backup.`,
    { model, found },
  );
}
