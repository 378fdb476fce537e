import { type JsonObject, SovereignError } from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import type { EmbeddedPaths } from "./embedded-programs.ts";
import { Lease } from "./lease.ts";
import type { Link } from "./control-connections.ts";
import type { PathKeeper } from "./path-keeper.ts";

/** Why nothing is admitted without a lease, after "the kill switch is". */
const WITHOUT_LEASE =
  "without word of the other machines: their orders could not be read for too long";

export interface LeaseGuardOptions {
  readonly ms: number | null;
  readonly required: boolean;
  readonly clock: Clock;
  readonly maxTerminationMs: number;
  readonly paths: PathKeeper;
  readonly embedded: EmbeddedPaths;
  readonly links: ReadonlyMap<string, Link>;
  readonly log: (event: string, data: JsonObject) => void;
  /** What runs without a lease did not die. */
  readonly onFault: (why: string) => void;
}

/**
 * Kills what runs when the lease ends, and trips nothing: once somebody has read the other nodes'
 * orders, which may trip the switch, work is admitted again.
 */
export class LeaseGuard {
  readonly #options: LeaseGuardOptions;
  readonly lease: Lease;

  constructor(options: LeaseGuardOptions) {
    const { ms, required, clock } = options;
    this.#options = options;
    const onChange = (live: boolean): void => void this.#onChange(live);
    this.lease = new Lease({ ms, required, clock, onChange });
  }

  /** Null when paths may be admitted, else why not. */
  get refusal(): string | null {
    return this.lease.live ? null : WITHOUT_LEASE;
  }

  /** @throws ERR_SCRAM_LEASE */
  require(): void {
    const { refusal } = this;
    if (refusal === null) return;
    throw new SovereignError("ERR_SCRAM_LEASE", `The kill switch is ${refusal}.`);
  }

  async #onChange(live: boolean): Promise<void> {
    const { paths, embedded, links } = this.#options;
    const running = paths.size + embedded.size;
    const killing = live || running === 0 ? null : this.#kill();
    for (const link of links.values()) link.push({ t: "lease", live });
    if (killing === null) return;
    const { stragglers, reapedMs } = await killing;
    this.#options.log("lease.ended", { paths: running, stragglers, t_reaped_ms: reapedMs });
    if (stragglers > 0) this.#options.onFault("paths without a lease did not die");
  }

  async #kill(): Promise<{ stragglers: number; reapedMs: number }> {
    const { paths, embedded, clock, maxTerminationMs } = this.#options;
    const startedAt = clock.monotonicMs();
    const deadline = startedAt + maxTerminationMs;
    const [ours, theirs] = await Promise.all([
      paths.endAll(),
      embedded.end({ kind: "all" }, deadline, () => clock.monotonicMs()),
    ]);
    const reapedMs = Math.round(clock.monotonicMs() - startedAt);
    return { stragglers: ours.stragglers + theirs.stragglers.length, reapedMs };
  }
}
