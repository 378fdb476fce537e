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
    // The ledger first: what it has recorded by now was switched before, so a later history has it.
    const ends = await this.#endsOf(model);
    const history = await this.#registry.history(model);
    const lost = ends.find((end) => end.isOwn && switchOf(history, end) === 0);
    if (lost !== undefined) throw missing(model, history.length, lost.text);
    const stray = await this.#strayIn(history, ends);
    // It may have been recorded since the ledger was asked, and its run may have ended.
    if (stray !== null && (await this.#strayIn(history, await this.#endsOf(model))) !== null) {
      throw unrecorded(stray, this.#tenant);
    }
    const last = history.at(-1);
    return last === undefined ? null : { version: last.version, sha256: last.digest };
  }

  /**
   * The last switches of a model that nobody recorded, oldest first: from the first whose run has ended.
   * Each with whether its run goes on, and may yet record it.
   */
  async unrecorded(model: string): Promise<{ record: VersionRecord; goesOn: boolean }[]> {
    const ends = await this.#endsOf(model);
    const history = await this.#registry.history(model);
    const first = await this.#strayIn(history, ends);
    if (first === null) return [];
    return Promise.all(
      history.slice(first.version - 1).map(async (record) => {
        const run = await this.#ledger.findRun(this.#tenant, record.run_id);
        return { record, goesOn: run?.sealed === null };
      }),
    );
  }

  async #endsOf(model: string): Promise<RecordedSwitch[]> {
    const holding = `"model":${JSON.stringify(model)}`;
    const found = await this.#ledger.completedOutputs(this.#tenant, holding);
    return found.flatMap(({ runId, output }) => {
      const said = readSwitch(model, parseCanonicalJson(output));
      return said === null ? [] : [{ ...said, isOwn: this.#isOwn(runId) }];
    });
  }

  /**
   * The first of the last switches that the ledger did not record, and whose run has ended; null where
   * there is none. A run that goes on may have been killed before it could record its switch.
   */
  async #strayIn(
    history: readonly VersionRecord[],
    ends: readonly RecordedSwitch[],
  ): Promise<VersionRecord | null> {
    const recorded = ends.reduce((most, end) => Math.max(most, switchOf(history, end)), 0);
    // Approvals of a recorded switch name what it replaced, so those before it were seen.
    for (const one of history.slice(recorded)) {
      const run = await this.#ledger.findRun(this.#tenant, one.run_id);
      if (run !== null && run.sealed !== null) return one;
    }
    return null;
  }
}

/** A switch as the ledger recorded it. */
interface RecordedSwitch {
  readonly is: (record: VersionRecord) => boolean;
  /** In words. */
  readonly text: string;
  readonly isOwn: boolean;
}

/** Null for what is no switch of this model. */
function readSwitch(model: string, recorded: unknown): Omit<RecordedSwitch, "isOwn"> | null {
  const promoted = promotion.safeParse(recorded).data?.output;
  if (promoted?.model === model) {
    const { version, digest } = promoted;
    const is = (one: VersionRecord): boolean => one.version === version && one.digest === digest;
    return { is, text: `switch ${version} to ${digest}` };
  }
  const back = rollback.safeParse(recorded).data?.output;
  if (back?.model !== model) return null;
  const { run_id, after } = back;
  const is = (one: VersionRecord): boolean =>
    one.kind === "rollback" && one.run_id === run_id && one.digest === after;
  return { is, text: `the rollback of ${run_id} to ${after}` };
}

/** The number of a recorded switch in the registry; 0 where it is not there. */
function switchOf(history: readonly VersionRecord[], { is }: RecordedSwitch): number {
  return history.findLast(is)?.version ?? 0;
}

function unrecorded({ model, version, run_id }: VersionRecord, tenant: string): SovereignError {
  return new SovereignError(
    "ERR_REGISTRY_CORRUPT",
    `model ${model}: the registry has switch ${version} of ${run_id}, which has ended and did not record it. To have the version before it again, type: sovereign repair registry --tenant ${tenant}`,
    { model, found: version },
  );
}

function missing(model: string, found: number, recorded: string): SovereignError {
  return new SovereignError(
    "ERR_REGISTRY_CORRUPT",
    `model ${model}: the ledger recorded ${recorded}; the registry has ${found} switches, and not that one. It was cut back or set back: restore the folder registry/ from a backup.`,
    { model, found },
  );
}
