import { parseCanonicalJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import type { ModelRegistry, VersionRecord } from "./registry/index.ts";

/** The ledger's word on the switches of a tenant's models. */
export interface SwitchHistory {
  /** The recorded ends of completed steps that hold these bytes, in canonical JSON. */
  completedOutputs(tenant: string, holding: string): Promise<Uint8Array[]>;
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

  constructor(registry: Pick<ModelRegistry, "history">, ledger: SwitchHistory, tenant: string) {
    this.#registry = registry;
    this.#ledger = ledger;
    this.#tenant = tenant;
  }

  /**
   * What is current of a model now.
   *
   * @throws ERR_REGISTRY_CORRUPT when a switch that the ledger recorded is not in the registry: it
   *   was cut back, emptied or set back
   */
  async current(model: string): Promise<Replaced | null> {
    const history = await this.#registry.history(model);
    const holding = `"model":${JSON.stringify(model)}`;
    for (const bytes of await this.#ledger.completedOutputs(this.#tenant, holding)) {
      this.#check(model, history, parseCanonicalJson(bytes));
    }
    const last = history.at(-1);
    return last === undefined ? null : { version: last.version, sha256: last.digest };
  }

  #check(model: string, history: readonly VersionRecord[], recorded: unknown): void {
    const promoted = promotion.safeParse(recorded).data?.output;
    if (promoted?.model === model) {
      const { version, digest } = promoted;
      if (history[version - 1]?.digest === digest) return;
      throw missing(model, history.length, `switch ${version} to ${digest}`);
    }
    const back = rollback.safeParse(recorded).data?.output;
    if (back?.model !== model) return;
    const { run_id, after } = back;
    const found = history.some(
      (one) => one.kind === "rollback" && one.run_id === run_id && one.digest === after,
    );
    if (!found) throw missing(model, history.length, `the rollback of ${run_id} to ${after}`);
  }
}

function missing(model: string, found: number, recorded: string): SovereignError {
  return new SovereignError(
    "ERR_REGISTRY_CORRUPT",
    `model ${model}: the ledger recorded ${recorded}; the registry has ${found} switches, and not that one. It was cut back or set back: restore the folder registry/ from a backup.`,
    { model, found },
  );
}
