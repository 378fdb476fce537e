import {
  cutText,
  canonicalize,
  digestOf,
  type Envelope,
  type JsonObject,
  type KillReceipt,
  predicateType,
  type ScramEvent,
  type ScramOrigin,
  type ScramReason,
  type ScramScope,
  type ScramTrigger,
  type Signer,
} from "@sovereign/core";
import { signStatement } from "../authority/index.ts";
import type { Clock } from "../system/index.ts";
import type { ProcessIdentity, ControlGroups } from "../process/index.ts";
import {
  type ScramConfig,
  type EnvelopeStore,
  type Journal,
  type LatchedStop,
  type ScramLatch,
  killPaths,
  type LivePath,
  eventIdOf,
} from "../scram/index.ts";
import { checkInvariants } from "./invariants.ts";

/** What is to be stopped, and by what right. */
export interface Activation {
  readonly scope: ScramScope;
  readonly reason: ScramReason;
  readonly trigger: ScramTrigger;
  readonly authorized: boolean;
  readonly refusal: string | null;
  readonly order: Envelope | null;
  /** Set for an order that another node carried out first. */
  readonly origin: ScramOrigin | null;
  readonly nonce: string | null;
  readonly operator: string | null;
  readonly architect: string | null;
  readonly metadata: JsonObject;
  /** Of the clock's `monotonicMs`: when the order was received. */
  readonly receivedAt: number;
}

/** A stop that no two keys authorised: in doubt, of everything. */
export function unauthorizedStop(
  trigger: ScramTrigger,
  refusal: string,
  receivedAt: number,
): Activation {
  return {
    scope: { kind: "all" },
    reason: "sentinel_trigger",
    trigger,
    authorized: false,
    refusal: cutText(refusal, 500),
    order: null,
    origin: null,
    nonce: null,
    operator: null,
    architect: null,
    metadata: {},
    receivedAt,
  };
}

/** How handlers in embedding programs ended, and the hooks. */
export interface EmbeddedOutcome {
  readonly paths: readonly { path_id: string; tenant_id: string; run_id: string }[];
  readonly stragglers: readonly { pid: number; state: string }[];
}

/** What an activation works with. */
export interface ActivationParts {
  readonly name: string;
  readonly installationId: string;
  readonly config: ScramConfig;
  readonly clock: Clock;
  readonly latch: ScramLatch;
  readonly journal: Journal;
  readonly envelopes: EnvelopeStore;
  readonly root: ControlGroups;
  readonly level: KillReceipt["rung"];
  readonly watchdogHeld: () => boolean;
  readonly signer: () => Promise<Signer | null>;
  /** The paths to kill, and the engine when everything is. */
  readonly targets: (scope: ScramScope) => { paths: LivePath[]; engine: ProcessIdentity | null };
  readonly unregistered: () => number;
  readonly admittedWhileTripped: () => number;
  /** Tell embedding programs, and wait until they ended their work or were killed. */
  readonly endEmbedded: (scope: ScramScope, deadlineMs: number) => Promise<EmbeddedOutcome>;
  readonly runHooks: (scope: ScramScope) => Promise<KillReceipt["hooks"]>;
  /** The stop is in force: refuse what it covers, and tell everybody. */
  readonly announce: (stop: LatchedStop) => void;
}

export interface ActivationResult {
  readonly event: ScramEvent;
  /** Null where the sentinel's key could not be opened; the body is then in the journal. */
  readonly receipt: Envelope | null;
  readonly body: KillReceipt;
}

/**
 * Stop: latch, kill, verify, record, in this order. What fails on the way is noted and never keeps
 * the rest from being done.
 */
export async function activate(
  parts: ActivationParts,
  activation: Activation,
  resumed: string | null,
): Promise<ActivationResult> {
  const { clock, config, latch } = parts;
  const { scope, reason, receivedAt } = activation;
  const startedAt = clock.now().toISOString();
  const stop = { event_id: resumed ?? eventIdOf(clock), scope, reason, tripped_at: startedAt };
  const errors: string[] = [];
  // The latch blocks every start from here on; it becomes durable while the kill goes on.
  if (resumed === null)
    note(errors, () => {
      latch.trip(stop);
    });
  const deadline = receivedAt + config.max_termination_ms;
  const targets = parts.targets(scope);
  const everything = scope.kind === "all";
  const { name, root } = parts;
  const monotonicMs = (): number => clock.monotonicMs();
  const killing = killPaths({ name, ...targets, everything, root }, monotonicMs, deadline);
  parts.announce(stop);
  const [killed, embedded] = await Promise.all([killing, parts.endEmbedded(scope, deadline)]);
  const reapedAt = embedded.paths.length === 0 ? killed.reapedAt : clock.monotonicMs();
  note(errors, () => {
    latch.sync();
  });
  const hooks = await parts.runHooks(scope);
  const stragglers = [...killed.stragglers, ...embedded.stragglers];
  const dead = killed.reapedAt !== null && stragglers.length === 0 && resumed === null;
  return record(parts, activation, {
    installation_id: parts.installationId,
    event_id: stop.event_id,
    ...rightOf(activation),
    started_at: startedAt,
    t_signalled_ms: resumed === null ? milliseconds(killed.signalledAt - receivedAt) : null,
    t_reaped_ms: dead && reapedAt !== null ? milliseconds(reapedAt - receivedAt) : null,
    rung: parts.level,
    paths: [...targets.paths, ...embedded.paths].map(({ path_id, tenant_id, run_id }) => ({
      path_id,
      tenant_id,
      run_id,
    })),
    processes: killed.processes,
    stragglers,
    unregistered: parts.unregistered(),
    hooks,
    errors: [...errors, ...killed.errors].map((text) => cutText(text, 300)).slice(0, 100),
  });
}

/** What it was done for, and by whose right. */
function rightOf(
  activation: Activation,
): Pick<
  KillReceipt,
  | "scope"
  | "reason"
  | "trigger"
  | "authorized"
  | "refusal"
  | "order_digest"
  | "operator_key"
  | "architect_key"
> {
  const { scope, reason, trigger, authorized, refusal, order, operator, architect } = activation;
  return {
    scope,
    reason,
    trigger,
    authorized,
    refusal,
    order_digest: order === null ? null : digestOf(order),
    operator_key: operator,
    architect_key: architect,
  };
}

/** Stands beside the event in the journal, and so in the ledger. */
function originOf({ origin }: Activation): { origin?: ScramOrigin } {
  return origin === null ? {} : { origin };
}

/** Sign the receipt and write the event; what could not be written makes the state FAILED. */
async function record(
  parts: ActivationParts,
  activation: Activation,
  body: KillReceipt,
): Promise<ActivationResult> {
  const { clock, journal } = parts;
  const receipt = await signReceipt(parts, body);
  const envelopes: Record<string, string> = {};
  const errors: string[] = [];
  note(errors, () => {
    if (receipt !== null) envelopes["receipt"] = parts.envelopes.put(receipt);
    if (activation.order !== null) envelopes["order"] = parts.envelopes.put(activation.order);
    const { event_id, trigger, scope } = body;
    const head = { event_id, trigger, nonce: activation.nonce, scope, ...originOf(activation) };
    journal.append("scram.activated", body.started_at, head);
  });
  const recorded = errors.length === 0;
  let event = eventOf(parts, activation, body, receipt, recorded);
  note(errors, () => {
    const unsigned = receipt === null ? { unsigned_receipt: body } : {};
    const from = originOf(activation);
    const data = { event, envelopes, ...from, ...unsigned } as unknown as JsonObject;
    journal.append("scram.executed", clock.now().toISOString(), data);
  });
  if (recorded && errors.length > 0) event = eventOf(parts, activation, body, receipt, false);
  return { event, receipt, body };
}

async function signReceipt(parts: ActivationParts, body: KillReceipt): Promise<Envelope | null> {
  const subject = { name: body.event_id, sha256: digestOf(body) };
  const signer = await parts.signer();
  if (signer === null) return null;
  return signStatement([subject], predicateType("kill-receipt"), body, signer);
}

function eventOf(
  { config, journal, clock, watchdogHeld, latch, admittedWhileTripped }: ActivationParts,
  activation: Activation,
  body: KillReceipt,
  receipt: Envelope | null,
  recorded: boolean,
): ScramEvent {
  const lawful =
    config.require_dual_key && config.fail_closed_on_error && config.max_termination_ms <= 500;
  const { checked, passed, failed } = checkInvariants({
    admittedAfterLatch: admittedWhileTripped(),
    terminationMs: body.t_reaped_ms,
    maxTerminationMs: config.max_termination_ms,
    dualKey: activation.authorized,
    watchdog: watchdogHeld(),
    recorded,
    allDead: body.stragglers.length === 0,
    unregistered: body.unregistered,
    lawInForce: lawful && latch.status().state === "TRIPPED",
  });
  const broken = ["INV-SCRAM-001", "INV-SCRAM-004", "INV-SCRAM-005", "INV-GOV-003"] as const;
  const content = {
    format: "sovereign.scram-event" as const,
    schema_version: "1.0.0" as const,
    event_id: body.event_id,
    timestamp: clock.now().toISOString(),
    scram_state: broken.some((id) => failed.includes(id))
      ? ("FAILED" as const)
      : ("COMPLETE" as const),
    reason: body.reason,
    operator_key_hash: body.operator_key,
    architect_key_hash: body.architect_key,
    execution_paths_terminated: body.paths.length,
    termination_latency_ms: body.t_reaped_ms,
    invariants_checked: checked,
    invariants_passed: passed,
    invariants_failed: failed,
    hardware_sentinel_ack: watchdogHeld(),
    receipt_digest: digestOf(receipt ?? body),
    metadata: activation.metadata,
    journal_head: journal.head,
  };
  return { ...content, content_hash: digestOf(content) };
}

function milliseconds(value: number): number {
  return Math.max(0, Math.round(value * 1000) / 1000);
}

function note(errors: string[], work: () => void): void {
  try {
    work();
  } catch (error) {
    errors.push(error instanceof Error ? error.message : canonicalize(String(error)));
  }
}
