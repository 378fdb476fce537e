/** A run that a worker was given. */
export interface ClaimedRun {
  readonly tenantId: string;
  readonly runId: string;
  /** How often it was given to a worker who did not come to an end with it, with this time. */
  readonly takes: number;
  /** The worker that lost it, where its lease was over; null for a run that was waiting. */
  readonly lostBy: string | null;
}

type HeldRun = Pick<ClaimedRun, "tenantId" | "runId">;

/**
 * Runs that wait for workers, of all tenants. A run enters in the commit that admits it, and leaves when
 * its evidence is published, or in the commit in which it stops to wait for people. The lease says who
 * works on it. What keeps everybody else from writing is the run's fence, which whoever goes on with a run
 * raises first.
 */
export interface RunQueue {
  /** The next run for a worker, also one whose worker is lost; null where there is none. */
  claim(worker: string, node: string, leaseMs: number): Promise<ClaimedRun | null>;
  /** A worker works on these runs: their leases go on. @returns those that are its own still */
  beat(
    worker: string,
    held: readonly HeldRun[],
    leaseMs: number,
  ): Promise<{ has(runId: string): boolean }>;
  /** Another worker may have it after a while. Of a run that has ended nothing changes. */
  giveBack(
    worker: string,
    run: HeldRun,
    how: { readonly waitMs: number; readonly counted: boolean },
  ): Promise<void>;
  /** It has ended for ever, and its evidence is published. */
  finish(worker: string, run: HeldRun): Promise<void>;
}
