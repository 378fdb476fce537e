import {
  canonicalize,
  cutText,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type RunTrace,
  SovereignError,
} from "@sovereign/core";
import type { Completed } from "../../kernel/index.ts";
import {
  type CheckedStep,
  resolveReferences,
  runSchedule,
  type StepEnd,
} from "../../planning/index.ts";
import { RunStopped, type Step } from "../../runs/index.ts";
import { findSkill } from "../../skills/index.ts";
import {
  COMPLETED,
  type Ending,
  type Held,
  KindWork,
  type KnownRun,
  type RunOptions,
} from "../runs/lifecycle.ts";
import type { OpenedSession } from "../runs/open-session.ts";
import { raiseIncident } from "../runs/run-incidents.ts";
import type { GoalSkills } from "./goal-skills.ts";
import { actionOf, callsOf, type FrozenGoal } from "./goal-step.ts";
import { rest } from "../../system/index.ts";

/** A step that may have happened, and must not happen twice: a person decides. */
class OutcomeUnknown extends Error {
  override readonly name = "OutcomeUnknown";
  readonly stepId: string;

  constructor(stepId: string, summary: string) {
    super(summary);
    this.stepId = stepId;
  }
}

/** What another attempt does not mend. */
const LASTING: ReadonlySet<ErrorCode> = new Set([
  "ERR_SKILL_INPUT",
  "ERR_SKILL_ADDRESS",
  "ERR_EGRESS_DENIED",
  "ERR_SECRET_DENIED",
  "ERR_SECRET_UNKNOWN",
  "ERR_SECRET_FILE",
  "ERR_KEY_PASSPHRASE",
  "ERR_OUTCOME_UNKNOWN",
  "ERR_EFFECT_RESULT",
]);

/** Does the steps of a plan: what the ledger has of them is not done again. */
export class GoalWork extends KindWork {
  readonly #options: RunOptions;
  readonly #known: KnownRun<FrozenGoal, Held>;
  readonly #trace: RunTrace;
  readonly #outputs = new Map<string, JsonValue>();

  readonly #skills: Pick<GoalSkills, "close" | "recover">;

  constructor(
    options: RunOptions,
    known: KnownRun<FrozenGoal, Held>,
    opened: OpenedSession & { readonly skills: GoalSkills },
  ) {
    super(opened, `sovereign run resume ${known.runId} --tenant ${options.tenantId}`);
    if (opened.trace === null) throw new TypeError("a goal's run has a trace");
    this.#options = options;
    this.#known = known;
    this.#trace = opened.trace;
    this.#skills = opened.skills;
  }

  announce(): void {
    const { runId, row, frozen } = this.#known;
    const { agent_id: agent, planner, steps } = frozen.goal;
    const event = row === null ? "goal.started" : "goal.resumed";
    this.#options.onProgress({ event, run: runId, agent, planner, steps: steps.length });
  }

  async carryOut(): Promise<Ending> {
    const { steps, parallel } = this.#known.frozen.goal;
    try {
      if (this.#known.row !== null) await this.#skills.recover();
      await runSchedule(steps, parallel, (step, needsSkipped) => this.#do(step, needsSkipped));
      return COMPLETED;
    } catch (error) {
      if (error instanceof OutcomeUnknown) return await this.#ask(error);
      throw error;
    } finally {
      await this.#skills.close();
    }
  }

  async #do(step: CheckedStep, needsSkipped: boolean): Promise<StepEnd> {
    let action: Step["action"];
    try {
      const why = needsSkipped ? "a step that it needs was skipped" : this.#conditionFails(step);
      if (why !== null) return await this.#skip(step, why, null);
      action = actionOf(step, this.#lookUp(step.with, step) as JsonObject);
    } catch (error) {
      if (isSovereignError(error)) await this.#skip(step, error.message, error.code);
      throw error;
    }
    this.#tell({ event: "goal.step_started", step: step.id, skill: step.skill });
    const { output } = await this.#perform(step, action);
    this.#outputs.set(step.id, valueOf(output));
    this.#ended(step, "completed", action.resource);
    return "completed";
  }

  /** Attempts, as many as the plan allows and as are left of earlier processes. */
  async #perform(step: CheckedStep, action: Step["action"]): Promise<Completed> {
    const { session } = this.opened;
    const input = action.params["input"] as JsonObject;
    const isUnsafe = findSkill(step.skill).repeat(input) === "unsafe";
    const max = isUnsafe ? 0 : (step.retry?.max ?? 0);
    this.#refuseUnknown(step, isUnsafe);
    const asked = {
      stepId: step.id,
      role: this.#known.frozen.goal.role,
      action,
      once: isUnsafe,
    };
    for (;;) {
      const again = max > 0 && this.#failures(step) <= max;
      try {
        return await session.perform({ ...asked, again });
      } catch (error) {
        if (!(error instanceof RunStopped)) throw error;
        await this.#lookAtBreaker(step, action);
        if (isUnsafe) this.#refuseLost(step, error);
        await this.#tryAgain(step, error, max);
      }
    }
  }

  /** Somebody has to know that a host is left alone, also where this run ends well without it. */
  async #lookAtBreaker({ id: stepId }: CheckedStep, action: Step["action"]): Promise<void> {
    const place = callsOf(action);
    if (place === null) return;
    const { installation, tenantId } = this.#options;
    if (!(await installation.store.breakers(tenantId).isOpen(place))) return;
    const { skill, host } = place;
    const summary = `${skill} leaves ${host} alone: it failed again and again`;
    const about = { subject: `${skill} ${host}`, code: "ERR_BREAKER_OPEN", stepId } as const;
    const incident = { kind: "open_breaker", severity: "WARNING", summary, ...about } as const;
    await raiseIncident(this.opened.session, incident);
  }

  /** Waits as long as the plan says. @throws the failure where there is no other attempt */
  async #tryAgain(step: CheckedStep, failure: RunStopped, max: number): Promise<void> {
    const { status, code, reason } = failure.outcome;
    if (status !== "FAILED" || LASTING.has(code) || this.#failures(step) > max) {
      this.#ended(step, "failed", reason);
      throw failure;
    }
    const { signal } = this.#options;
    await rest(step.retry?.backoff_ms ?? 0, signal);
    if (signal.aborted) throw failure;
  }

  /** @throws OutcomeUnknown where an earlier process may have done what must not be done twice */
  #refuseUnknown(step: CheckedStep, isUnsafe: boolean): void {
    if (!isUnsafe || this.#options.retryFailed === true) return;
    if (this.#trace.last(step.id)?.status !== "unknown") return;
    const why = "its process died before it recorded the end";
    throw new OutcomeUnknown(step.id, `nobody knows whether ${step.id} happened: ${why}`);
  }

  /** @throws OutcomeUnknown where an attempt ended, and may have happened all the same */
  #refuseLost(step: CheckedStep, { outcome }: RunStopped): void {
    const { status, code, reason } = outcome;
    const interrupted = status === "KILLED" && !this.#options.signal.aborted;
    if (code !== "ERR_OUTCOME_UNKNOWN" && !interrupted) return;
    throw new OutcomeUnknown(step.id, `nobody knows whether ${step.id} happened: ${reason}`);
  }

  /** The run waits until somebody says that the step is to be done again. */
  async #ask({ stepId, message: summary }: OutcomeUnknown): Promise<Ending> {
    const { runId } = this.#known;
    const about = { subject: `${runId} ${stepId}`, code: "ERR_OUTCOME_UNKNOWN", stepId } as const;
    const incident = { kind: "unknown_outcome", severity: "WARNING", summary, ...about } as const;
    await raiseIncident(this.opened.session, incident);
    const reason = `${summary}. If it did not, or may be done twice: ${this.resume} --retry-failed`;
    return { status: "pending", reason, code: "ERR_OUTCOME_UNKNOWN", outcome: null };
  }

  #failures({ id }: CheckedStep): number {
    return this.#trace.steps.filter((one) => one.step_id === id && one.status === "failed").length;
  }

  #conditionFails(step: CheckedStep): string | null {
    const { when } = step;
    if (when === undefined) return null;
    const { value, equals, not_equals } = when;
    const found = canonicalize(this.#lookUp(value, step));
    const wanted = canonicalize(equals ?? not_equals ?? null);
    const holds = equals === undefined ? found !== wanted : found === wanted;
    return holds ? null : "its condition does not hold";
  }

  #lookUp(value: JsonValue, { id }: CheckedStep): JsonValue {
    const { inputs } = this.#known.frozen.goal;
    return resolveReferences(value, { inputs, outputs: this.#outputs }, id);
  }

  /** Recorded once: a run that is gone on with comes to the same. */
  async #skip(step: CheckedStep, reason: string, code: ErrorCode | null): Promise<StepEnd> {
    const { id: step_id, skill } = step;
    const last = this.#trace.last(step_id);
    if (last?.status !== "skipped" || last.code !== code) {
      const data = { step_id, skill, reason: cutText(reason, 2000) };
      const more = code === null ? {} : { code };
      await this.opened.session.note("step.skipped", "INFO", { ...data, ...more });
    }
    this.#ended(step, code === null ? "skipped" : "failed", reason);
    return "skipped";
  }

  #ended({ id: step, skill }: CheckedStep, status: GoalEnd, detail: string): void {
    this.#tell({ event: "goal.step_ended", step, skill, status, detail });
  }

  #tell(progress: Parameters<RunOptions["onProgress"]>[0]): void {
    this.#options.onProgress(progress);
  }
}

type GoalEnd = "completed" | "skipped" | "failed";

/** @throws ERR_RUN_DIVERGED where the ledger has the output by its digest alone */
function valueOf(output: JsonValue): JsonValue {
  if (typeof output === "object" && output !== null && !Array.isArray(output)) {
    const { value } = output;
    if (value !== undefined) return value;
  }
  const text = "A step's output is too large for the ledger, so no later step can use it.";
  throw new SovereignError("ERR_RUN_DIVERGED", text);
}
