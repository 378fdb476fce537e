import type { Carriers } from "../ledger/index.ts";

/** A run that a worker was given. */
export interface ClaimedRun {
  readonly tenantId: string;
  readonly runId: string;
  /** How often it was given to a worker who did not come to an end with it, with this time. */
  readonly takes: number;
  /** The worker that lost it, where its lease was over; null for a run that was waiting. */
  readonly lostBy: string | null;
  /** What the last worker said that could not carry it out; null where none did. */
  readonly why: string | null;
}

/** What a worker's data folder has, and so which runs it may carry out. */
export interface WorkerPlace {
  readonly node: string;
  /** Where it keeps contents that other folders reach; null for nowhere. */
  readonly contents: string | null;
  /** Those of which it has a key that is in force. */
  readonly roles: readonly string[];
}

/** Runs that wait for workers of other data folders. */
export interface WaitingElsewhere {
  /** The one folder; null where it is every folder with these contents and a key of this role. */
  readonly node: string | null;
  readonly contents: string | null;
  readonly role: string | null;
  readonly runs: number;
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
  claim(worker: string, place: WorkerPlace, leaseMs: number): Promise<ClaimedRun | null>;
  /** At most 20, those with the most runs first. */
  elsewhere(place: WorkerPlace): Promise<WaitingElsewhere[]>;
  /** Who may carry a tenant's run out; null where it waits for no worker, and none has it. */
  carriersOf(tenant: string, runId: string): Promise<Carriers | null>;
  /**
   * A worker works on these runs: their leases go on.
   * @returns of those that are its own still, whether the lease went on: somebody may hold the row
   */
  beat(
    worker: string,
    held: readonly HeldRun[],
    leaseMs: number,
  ): Promise<{ get(runId: string): boolean | undefined }>;
  /**
   * Another worker may have it after a while. Of a run that has ended nothing changes.
   * @param how.why null where nothing was wrong with the run: then it does not count
   */
  giveBack(
    worker: string,
    run: HeldRun,
    how: { readonly waitMs: number; readonly why: string | null },
  ): Promise<void>;
  /** It has ended for ever, and its evidence is published. */
  finish(worker: string, run: HeldRun): Promise<void>;
}
