import {
  type Action,
  type ActionContext,
  type ArtifactRef,
  canonicalBytes,
  deepFreeze,
  digestOf,
  type Envelope,
  fields,
  frozenCopy,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type KeyLogHead,
  parseCanonicalJson,
  parseFormat,
  type RunProof,
  type Severity,
  SovereignError,
  fixClass,
} from "@sovereign/core";
import { z } from "zod";
import type { Authority, KeyLog } from "../authority/index.ts";
import type { Clock } from "../system/index.ts";
import type { Completed, Kernel, LedgerRecord, Outcome, Pending } from "../kernel/index.ts";
import type { QueuePlace, RunWrite, StoredEntry } from "../ledger/index.ts";
import { ASK_AGAIN, UNISSUED } from "./ask-again.ts";
import { BoundedNotes, type Note } from "./bounded-notes.ts";
import type { RunStore, StepRow } from "./ports.ts";
import { isLasting, readFailedAttempt } from "./failed-attempt.ts";
import { readAuthorized, recallOpen } from "./open-attempts.ts";
import type { RunRecorder } from "./run-recorder.ts";
import { makeAdmission } from "./make-admission.ts";
import { APPROVED, makeGrant } from "./make-grant.ts";
import { makeSeal } from "./make-seal.ts";
import type { RunPlan } from "./run-plan.ts";
import { RunStopped } from "./run-stopped.ts";
import { readStepRecord, type StepRecord } from "./step-record.ts";

/** Asks people for approvals. Null means: not now; the run waits. */
export type ApprovalSource = (pending: Pending) => Promise<readonly Envelope[] | null>;

export interface RunSessionOptions {
  readonly plan: RunPlan;
  readonly store: RunStore;
  readonly recorder: RunRecorder;
  readonly kernel: Kernel;
  readonly authority: Authority;
  readonly keyLog: KeyLog;
  readonly clock: Clock;
  readonly approvals: ApprovalSource;
  /** Whose consent the approvals hold by keys that are here: it is recorded where it is not enough. */
  readonly approvers?: readonly string[] | undefined;
  readonly signal: AbortSignal;
  /** The steps that an earlier process recorded, when a run is resumed. */
  readonly steps: readonly StepRow[];
  /** True where somebody asked to try again what has failed. */
  readonly retryFailed?: boolean;
}

/** One thing to be done in a run. */
export interface Step {
  /** Unique in the run. */
  readonly stepId: string;
  readonly role: string;
  readonly action: Action;
  /** True where it is not tried again even after a stop or an interrupt ended it. */
  readonly once?: boolean;
  /** True where the plan allows another attempt after one that failed. */
  readonly again?: boolean;
}

/** How often a run is read for its seal while others record in it, and signed while keys change. */
const ATTEMPTS = 5;

const storedOutput = z.strictObject({
  artifacts: z.array(fields.artifactRef),
  usage: fields.usage,
  output: fields.json,
});

/**
 * One run while a process owns it: everything in it goes through `perform`, and so through the
 * kernel; `seal` ends it for ever.
 */
export class RunSession {
  readonly #options: RunSessionOptions;
  readonly #steps: Map<string, StepRow>;
  /** Of an earlier process, and recorded by this one before anybody asked for them. */
  readonly #recalled = new Map<string, Completed>();
  readonly #artifacts: ArtifactRef[] = [];
  readonly #refusals: BoundedNotes;
  readonly configDigest: string;
  readonly planDigest: string;

  constructor(options: RunSessionOptions) {
    // Copies: what is admitted, done and sealed is what was hashed here.
    const plan = deepFreeze(structuredClone(options.plan));
    this.#options = Object.freeze({ ...options, plan });
    this.#steps = new Map(options.steps.map((step) => [step.stepId, step]));
    options.recorder.takeOver(options.steps);
    const write = (one: Note): Promise<void> => this.#record(one);
    this.#refusals = new BoundedNotes(options, write);
    this.configDigest = digestOf(plan.config);
    this.planDigest = digestOf(plan.plan);
    Object.freeze(this);
  }

  get plan(): RunPlan {
    return this.#options.plan;
  }

  get artifacts(): readonly ArtifactRef[] {
    return [...this.#artifacts];
  }

  /**
   * Record the run's first entry, with the signed snapshot of its configuration.
   * @throws ERR_FORMAT_INVALID for a name that no verifier would read
   */
  async admit(queue?: QueuePlace): Promise<void> {
    const { plan } = this.#options;
    parseFormat(fields.name, plan.name, "the run's name");
    const digests = {
      config_digest: this.configDigest,
      plan_digest: this.planDigest,
      policy_digest: plan.policyDigest,
    };
    const run = this.#runRow(queue === undefined ? "running" : "queued", null);
    await this.#recordSigned("run.admitted", { run, queue }, (keys) =>
      makeAdmission(this.#options, digests, keys),
    );
  }

  /** Record that this process goes on with it. @param isWorker false takes it out of the queue */
  async resume(from: RunWrite["status"], isWorker: boolean): Promise<void> {
    const row = isWorker || from === "queued" ? this.#runRow("running", null) : null;
    const rows = { run: row, queue: isWorker ? undefined : null };
    await this.#record({ event: "run.resumed", severity: "INFO", data: { from } }, rows);
  }

  /**
   * Do one step, or recall it when an earlier process completed it. A step whose failure is
   * recorded is not repeated: it has failed, unless somebody asked to try again.
   *
   * @throws RunStopped when the step did not complete
   * @throws ERR_RUN_DIVERGED when a completed step is asked for with another action
   */
  async perform(asked: Step): Promise<Completed> {
    // One copy, which the authority and the kernel take as it is: read, written and hashed once.
    const step = { ...asked, action: frozenCopy(asked.action) as Action };
    const actionDigest = digestOf(step.action);
    const recalled = this.#recalled.get(step.stepId);
    if (recalled?.actionDigest === actionDigest) return recalled;
    if (recalled !== undefined) throw diverged(step.stepId);
    const known = this.#steps.get(step.stepId);
    if (known?.status === "completed") return this.#recall(known, actionDigest);
    await this.#requireUnfailed(step, known, actionDigest);
    const happened = await this.#recallUnrecorded(step, known, actionDigest);
    if (happened !== null) return happened;
    const attempt = nextAttempt(known);
    const context = this.#contextOf(step, attempt);
    const outcome = await this.#execute(step.action, context);
    if (outcome.status !== "COMPLETED") {
      if (step.again === true && outcome.status === "FAILED") {
        const { stepId } = step;
        this.#steps.set(stepId, { stepId, status: "failed", attempt, actionDigest, output: null });
      }
      throw new RunStopped(step.stepId, outcome);
    }
    this.#keep(outcome.artifacts);
    return outcome;
  }

  /** @throws RunStopped where an earlier process recorded that the step failed, and died then */
  async #requireUnfailed(
    step: Step,
    known: StepRow | undefined,
    actionDigest: string,
  ): Promise<void> {
    const { store, plan, retryFailed = false } = this.#options;
    if (retryFailed || step.again === true) return;
    if (known?.status !== "failed" && known?.status !== "killed") return;
    const end = await readFailedAttempt(store, plan.tenantId, plan.runId, known);
    if (end === null || !isLasting(end, step.once === true)) return;
    const { status, code, reason, entryIndex } = end;
    const outcome = { status, code, reason, entryIndex, actionDigest };
    throw new RunStopped(step.stepId, outcome, true);
  }

  /**
   * An attempt that was authorised, and whose process died before it could record the end: if it
   * happened it is recorded as what it was, so that the ledger and the world agree, and nobody has
   * to permit again what is done.
   */
  async #recallUnrecorded(
    step: Step,
    known: StepRow | undefined,
    actionDigest: string,
  ): Promise<Completed | null> {
    if (known?.status !== "running" || known.actionDigest !== actionDigest) return null;
    const { kernel, signal } = this.#options;
    const context = this.#contextOf(step, known.attempt);
    const outcome = await kernel.recall({ action: step.action, context, signal });
    if (outcome === null) return null;
    if (outcome.status !== "COMPLETED") throw new RunStopped(step.stepId, outcome);
    this.#keep(outcome.artifacts);
    return outcome;
  }

  /** True when an earlier process completed the step: nothing will be done again. */
  isDone(stepId: string): boolean {
    return this.#steps.get(stepId)?.status === "completed" || this.#recalled.has(stepId);
  }

  /** What the ledger says of a step that has completed; null for another. */
  recordOf(stepId: string): Promise<StepRecord | null> {
    const { store, plan } = this.#options;
    return readStepRecord(store, plan.tenantId, plan.runId, stepId);
  }

  /**
   * The action that an earlier process had authorised for a step, where it completed or may have;
   * null where the step has to be asked for anew.
   */
  async authorizedAction(stepId: string): Promise<Action | null> {
    const known = this.#steps.get(stepId);
    if (known?.status !== "completed" && known?.status !== "running") return null;
    const { store, plan } = this.#options;
    return (await readAuthorized(store, plan, known))?.action ?? null;
  }

  /** Where the run only ends: record what steps did whose process died before it could. */
  async recallOpen(): Promise<void> {
    for (const step of [...this.#steps.values()].filter(({ status }) => status === "running")) {
      if (this.#recalled.has(step.stepId)) continue;
      const happened = await recallOpen(this.#options, step);
      if (happened === null) continue;
      this.#keep(happened.artifacts);
      this.#recalled.set(step.stepId, happened);
    }
  }

  /** Record something that happened, which is not an action. Of a flood of refusals the number. */
  note(event: string, severity: Severity, data: JsonObject): Promise<void> {
    if (this.#refusals.isBounded(event)) return this.#refusals.note({ event, severity, data });
    return this.#record({ event, severity, data });
  }

  /** Record files of evidence that are no step's own output. */
  async recordEvidence(artifacts: readonly ArtifactRef[]): Promise<void> {
    const data = { artifacts: artifacts.map((one) => ({ ...one })) };
    await this.#record({ event: "evidence.recorded", severity: "INFO", data });
    this.#keep(artifacts);
  }

  /**
   * Record signed statements.
   *
   * @param sign makes them, each under a name of its own: again where a key was replaced meanwhile
   */
  async attest(
    predicateType: string,
    sign: () => Promise<Readonly<Record<string, Envelope>>>,
    data: JsonObject = {},
  ): Promise<void> {
    await this.#recordSigned("attestation.issued", {}, async () => ({
      data: { ...data, predicate_type: predicateType },
      envelopes: await sign(),
    }));
  }

  /** Leave the run waiting. @param stays true where the next worker is to go on with it */
  async suspend(reason: string, stays = false): Promise<void> {
    await this.#refusals.end();
    const row = this.#runRow("pending", reason);
    const rows = { run: row, queue: stays ? undefined : null };
    await this.#record({ event: "run.suspended", severity: "INFO", data: { reason } }, rows);
  }

  /**
   * End the run for ever: nothing can be added, dropped or changed after this.
   *
   * @returns how it ended, and the entries before the seal: evidence is made of the same
   */
  async seal(
    asked: RunProof["status"],
    why: string | null,
  ): Promise<{ readonly status: RunProof["status"]; readonly entries: readonly StoredEntry[] }> {
    await this.#refusals.end();
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#seal(asked, why);
      } catch (error) {
        // Something may have been recorded while the run was read: then its proof is not over all of it.
        // Or the key log grew, and the proof is signed by a key that ended.
        if (!isSovereignError(error, "ERR_RUN_FENCED") || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #seal(
    asked: RunProof["status"],
    why: string | null,
  ): Promise<{ readonly status: RunProof["status"]; readonly entries: readonly StoredEntry[] }> {
    const { kernel, recorder, plan } = this.#options;
    // What the kernel could not record when it happened is a part of what is sealed.
    await kernel.recordKept(plan.runId);
    const made = await makeSeal(this.#options, {
      planDigest: this.planDigest,
      known: recorder.known,
      asked: { status: asked, reason: why },
      note: this.note.bind(this),
    });
    const { status, reason, head, entries, data, envelope, keyEpoch } = made;
    const severity = status === "completed" ? "INFO" : "ERROR";
    const run = { ...this.#runRow(status, reason), sealed: head };
    const envelopes = [envelope];
    await this.#record({ event: "run.sealed", severity, data, envelopes, keyEpoch }, { run });
    return { status, entries };
  }

  /** Where a key was replaced, or a permission has expired meanwhile, it is asked for again, once. */
  async #execute(action: Action, context: ActionContext): Promise<Outcome> {
    const outcome = await this.#attempt(action, context);
    if (outcome.status !== "BLOCKED" || !ASK_AGAIN.has(outcome.code)) return outcome;
    return this.#attempt(action, context);
  }

  async #attempt(action: Action, context: ActionContext): Promise<Outcome> {
    const { kernel, signal, approvals } = this.#options;
    const authorization = await this.#authorize(action, context);
    const request = { action, context, authorization, signal };
    const outcome = await kernel.execute({ ...request, approvals: [] });
    if (outcome.status !== "PENDING") return outcome;
    const envelopes = await approvals(outcome);
    if (envelopes === null) return outcome;
    // People take their time: what the first try did not use may have expired by now.
    const fresh = await this.#authorize(action, context);
    const judged = await kernel.execute({ ...request, authorization: fresh, approvals: envelopes });
    if (judged.status === "PENDING") await this.#keepConsent(judged);
    return judged;
  }

  /** Consent that was too little counts for whoever goes on with the run, and is not asked for again. */
  async #keepConsent(pending: Pending): Promise<void> {
    const asked = pending.decision.approvals?.roles ?? [];
    for (const one of this.#options.approvers ?? []) {
      if (!asked.includes(one)) continue;
      await this.#recordSigned(APPROVED, {}, () => makeGrant(this.#options, one, pending));
    }
  }

  /** Null where nothing is issued; the kernel then says by itself what is wrong. */
  async #authorize(
    action: Action,
    context: ActionContext,
  ): Promise<{ role: Envelope; binding: Envelope } | null> {
    const { authority } = this.#options;
    if (context.mode === "compatible") return null;
    try {
      return await authority.issueAuthorization(action, context);
    } catch (error) {
      if (error instanceof SovereignError && UNISSUED.has(error.code)) return null;
      throw error;
    }
  }

  #contextOf(step: Step, attempt: number): ActionContext {
    const { plan } = this.#options;
    return frozenCopy({
      tenant_id: plan.tenantId,
      run_id: plan.runId,
      step_id: step.stepId,
      attempt,
      role: step.role,
      mode: plan.mode,
      config_digest: this.configDigest,
      policy_digest: plan.policyDigest,
    }) as ActionContext;
  }

  #recall(step: StepRow, actionDigest: string): Completed {
    if (step.actionDigest !== actionDigest || step.output === null) {
      throw diverged(step.stepId);
    }
    const value: JsonValue = parseCanonicalJson(step.output);
    const { artifacts, usage, output } = parseFormat(storedOutput, value, "stored step");
    this.#keep(artifacts);
    return { status: "COMPLETED", output, artifacts, usage, actionDigest, entryIndex: null };
  }

  #keep(artifacts: readonly ArtifactRef[]): void {
    for (const one of artifacts) this.#artifacts.push(one);
  }

  #runRow(status: RunWrite["status"], reason: string | null): RunWrite {
    const { plan } = this.#options;
    return {
      runId: plan.runId,
      tenantId: plan.tenantId,
      name: plan.name,
      mode: plan.mode,
      status,
      plan: canonicalBytes(plan.plan),
      planDigest: this.planDigest,
      reason,
      sealed: null,
    };
  }

  /**
   * Sign and record. The commit refuses what was signed before the key log grew: a key that has ended
   * by then signs nothing that counts. It is signed anew.
   */
  async #recordSigned(
    event: string,
    rows: RecordRows,
    make: (keys: KeyLogHead) => Promise<{
      readonly data: JsonObject;
      readonly envelopes: Readonly<Record<string, Envelope>>;
    }>,
  ): Promise<void> {
    const { keyLog } = this.#options;
    for (let attempt = 1; ; attempt++) {
      // Before it is signed: what the log says later does not count for it.
      const keys = keyLog.head();
      const { data, envelopes } = await make(keys);
      const named = Object.entries(envelopes);
      const digests = named.map(([name, one]) => [name, digestOf(one)] as const);
      const record = {
        event,
        severity: "INFO",
        data: { ...data, key_epoch: keys.count, envelopes: Object.fromEntries(digests) },
        envelopes: named.map(([, one]) => one),
        keyEpoch: keys.count,
      } as const;
      try {
        await this.#record(record, rows);
        return;
      } catch (error) {
        const isOutdated = isSovereignError(error) && error.details["reason"] === "key_epoch";
        if (!isOutdated || attempt === ATTEMPTS) throw error;
        await keyLog.refresh();
      }
    }
  }

  /**
   * @throws ERR_RUN_FENCED when another process owns the run now, or the key log has grown
   * @throws ERR_STORE_UNAVAILABLE, also where what the kernel kept cannot be recorded first
   */
  async #record(
    said: Note & Partial<Pick<LedgerRecord, "envelopes" | "keyEpoch">>,
    { run = null, queue }: RecordRows = {},
  ): Promise<void> {
    const record = { envelopes: [], nonces: [], keyEpoch: null, ...said };
    const { kernel, recorder, plan } = this.#options;
    await kernel.recordKept(plan.runId);
    const verdict = await recorder.write(record, run, queue);
    if (verdict.status === "committed") return;
    const { event } = said;
    const why =
      verdict.reason === "key_epoch"
        ? `Keys are replaced all the time: ${event} is not recorded`
        : `Another process has taken the run over: ${event} is not recorded`;
    throw new SovereignError(
      "ERR_RUN_FENCED",
      `${why} (${verdict.detail}). Look at it with: sovereign run list`,
      { event, reason: verdict.reason },
    );
  }
}

/** What of the run's rows is written with an entry. */
interface RecordRows {
  readonly run?: RunWrite | null;
  readonly queue?: QueuePlace | null | undefined;
}

fixClass(RunSession);

/** An attempt that never began keeps its number, so that an approval for it stays good. */
function nextAttempt(known: StepRow | undefined): number {
  if (known === undefined) return 1;
  return known.status === "refused" ? known.attempt : known.attempt + 1;
}

function diverged(stepId: string): SovereignError {
  const text = `Step ${stepId} was completed as another action: inputs or programs have changed since. Start a new run.`;
  return new SovereignError("ERR_RUN_DIVERGED", text, { stepId });
}
