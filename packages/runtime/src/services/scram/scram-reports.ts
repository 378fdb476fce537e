import type {
  JsonObject,
  ScramReason,
  ScramScope,
  ScramSelfProof,
  ScramState,
} from "@sovereign/core";
import type { SandboxLevel, SandboxReport } from "../../sandbox/index.ts";
import type { LatchedStop, OrderOutcome } from "../../scram/index.ts";
import type { LeaseHealth } from "../../installation/index.ts";

/** What an order says. */
export interface ScramInput {
  readonly scope: ScramScope;
  readonly reason: ScramReason;
  readonly statement: string | null;
  readonly metadata: JsonObject;
}

/** An order was carried out, or waits for the other's signature. */
export type ScramOutcome = OrderOutcome & {
  /** Of a server's answer: whether the sentinel's signature could be checked here. */
  readonly checked?: boolean;
};

/** A server of the kill switch, on this or another machine. */
export interface ScramRemote {
  readonly url: string;
  /** A file with the certificates of those who may vouch for it; null for the system's. */
  readonly ca: string | null;
  /** Files with a certificate and its key, for a server that lets in only whom it knows. */
  readonly clientCert: string | null;
  readonly clientKey: string | null;
  /** The installation that it serves; null for that of the data folder here. */
  readonly installation: string | null;
}

/** How to take orders over HTTP. Files are named; `signal` ends it. */
export interface ScramServeInput {
  readonly listen: string;
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  readonly clientCa: string | null;
  readonly plaintext: boolean;
  readonly names: readonly string[];
  readonly signal: AbortSignal;
  readonly onEvent: (event: ScramServeEvent) => void;
}

/** What goes on in a watch over the other machines of an installation. */
export type WatchEvent =
  | { readonly event: "watching"; readonly node: string }
  /** What is ordered elsewhere is not heard: as long as a lease, then nothing runs here. */
  | { readonly event: "unheard"; readonly why: string }
  | { readonly event: "heard" }
  /** There is no watch. */
  | { readonly event: "unwatched"; readonly why: string };

/** What goes on in a server of the kill switch. */
export type ScramServeEvent =
  | WatchEvent
  | { readonly event: "listening"; readonly url: string; readonly keys: number }
  /** `recorded`: what was stopped since is in the ledger. */
  | { readonly event: "sentinel.lost" | "sentinel.back" | "recorded" }
  | { readonly event: "stopped"; readonly outcome: JsonObject }
  /** What is tried again, and why it failed; told once for as long as the reason is the same. */
  | { readonly event: "failed"; readonly what: ServeDuty; readonly why: string };

/** What a server of the kill switch does besides taking orders. */
export type ServeDuty = "ledger" | "sentinel" | "certificate";

export interface ScramReport {
  readonly state: ScramState;
  readonly stops: readonly LatchedStop[];
  /** False when the latch is there and cannot be read: everything is stopped. */
  readonly readable: boolean;
  /** Why everything is stopped, or what waits to stop it; null where the stops say all. */
  readonly trouble: string | null;
  /** What the sentinel says of itself; null when none answers. */
  readonly sentinel: JsonObject | null;
  /** What came of the switch's trial of itself; null where no sentinel answers. */
  readonly selfProof?: SelfProofHealth | null;
  /** Where none answers: the installation's processes that live, by a look at the process table. */
  readonly living?: number;
  /** Null where no other machine uses the database. */
  readonly lease: LeaseHealth | null;
}

/** What became of the sentinel's journal. */
export interface ScramRepairReport {
  /** False where nothing was wrong with it. */
  readonly repaired: boolean;
  /** The stop that holds until two keys reset it. */
  readonly event_id: string | null;
  readonly kept: number;
  readonly lost: number;
  readonly unreadable: number;
  /** Lines that could be read and fit nowhere: kept beside the chain. */
  readonly salvaged: number;
  readonly from_ledger: number;
  /** The name of what stood in the journal's place. */
  readonly aside: string | null;
  /** Why the ledger could not be asked for what it holds of the journal. */
  readonly ledger: string | null;
}

/** Whether the switch has proved lately that what it kills is dead. */
export interface SelfProofHealth {
  readonly state: "passed" | "failed" | "overdue" | "waiting" | "off";
  readonly age_seconds: number | null;
  readonly last: ScramSelfProof | null;
}

/** A rehearsal's outcome. Times are from the order's receipt to verified death. */
export interface DrillReport {
  readonly trials: number;
  readonly paths: number;
  readonly level: string;
  readonly reaped_ms: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Of paths that own as much as they may; null where not all were dead in time. */
  readonly owning: readonly {
    readonly what: string;
    readonly paths: number;
    readonly reaped_ms: number | null;
  }[];
  /** Processes of the paths that an independent look at the process table found afterwards. */
  readonly survivors: number;
  readonly over_bound: number;
}

export interface RunnerHealth {
  readonly runner_status: "HEALTHY" | "HALTED" | "UNAVAILABLE";
  readonly scram_state: ScramState | "UNKNOWN";
  readonly scram_armed: boolean;
  readonly scram_active: boolean;
  readonly scram_complete: boolean;
  readonly reason: string | null;
  readonly lease: LeaseHealth | null;
  readonly self_proof: SelfProofHealth | null;
}

/** How many paths at once this machine was seen to kill within the bound, and what each takes. */
export interface PathCapacity {
  readonly paths: number;
  readonly path_ms: number;
}

/** What `sovereign doctor` finds. */
export interface DoctorReport extends SandboxReport {
  /** Null where it was not measured since the machine started. */
  readonly capacity: PathCapacity | null;
  /** Why it could not be measured now, as on a machine that is too busy; null where nothing failed. */
  readonly unmeasured: string | null;
  /** With G0 work runs without a sandbox where none can be had. */
  readonly minimum_level: SandboxLevel;
}
