import {
  type Action,
  type ArtifactRef,
  type Ballot,
  ballotRules,
  cutText,
  digestOf,
  type Envelope,
  type Fault,
  formats,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  judgeVotes,
  parseFormat,
  predicateType,
  type RollbackProof,
  SLSA_PROVENANCE_TYPE,
  SovereignError,
} from "@sovereign/core";
import type { Authority } from "../authority/index.ts";
import type { Clock } from "../system/index.ts";
import type { Completed } from "../kernel/index.ts";
import {
  type ArtifactStore,
  castVotes,
  type RunSession,
  RunStopped,
  type StepRecord,
  type Vote,
} from "../runs/index.ts";
import type { FrozenPipeline } from "./frozen.ts";
import type { Pipeline, Stage, StageOf } from "./pipeline-schema.ts";
import type { Progress } from "./ports.ts";
import type { ProgramParams } from "./program-effect.ts";
import { parseAgentVerdict } from "./program-output.ts";
import { DEFAULT_LIMITS, type ProgramTask, programTasks } from "./program-task.ts";
import { provenanceOf } from "./provenance.ts";
import type { SwitchedModels } from "./switched-models.ts";

export interface PipelineRunOptions {
  readonly frozen: FrozenPipeline;
  readonly session: RunSession;
  readonly authority: Authority;
  readonly artifacts: ArtifactStore;
  readonly clock: Clock;
  readonly models: SwitchedModels;
  /** Digest of the installed libraries, for provenance. */
  readonly modulesDigest: string | null;
  readonly onProgress: (progress: Progress) => void;
}

/**
 * Walk a pipeline's stages, each as actions through the kernel. Steps that an earlier process
 * completed are recalled, not repeated.
 *
 * @throws RunStopped where the kernel refused or the effect failed
 * @throws ERR_CONSENSUS_FAILED where the agents did not agree
 */
export class PipelineRun {
  readonly #options: PipelineRunOptions;
  readonly #pipeline: Pipeline;
  /** `stage/artifact` → what it is. */
  readonly #known = new Map<string, ArtifactRef>();
  /** Agent chain → the model digest that it approved. */
  readonly #approved = new Map<string, string>();
  /** Promotion → the digest that it promoted. */
  readonly #promoted = new Map<string, string>();

  constructor(options: PipelineRunOptions) {
    this.#options = options;
    this.#pipeline = options.frozen.pipeline;
  }

  async run(dataset: Readonly<Record<string, ArtifactRef>>): Promise<void> {
    for (const [name, artifact] of Object.entries(dataset)) {
      this.#known.set(`dataset/${name}`, artifact);
    }
    for (const [index, stage] of this.#pipeline.stages.entries()) {
      await this.#stage(stage, index + 1);
    }
  }

  async #stage(stage: Stage, number: number): Promise<void> {
    const { onProgress, clock } = this.#options;
    onProgress({ event: "stage.started", stage: stage.name, type: stage.type, number });
    const start = clock.monotonicMs();
    const detail = await this.#dispatch(stage);
    const ms = clock.monotonicMs() - start;
    onProgress({ event: "stage.completed", stage: stage.name, ms, detail });
  }

  #dispatch(stage: Stage): Promise<string> {
    switch (stage.type) {
      case "data_preparation":
        return this.#program(stage, "data.prepare");
      case "model_training":
        return this.#train(stage);
      case "agent_chain":
        return this.#agents(stage);
      case "promotion":
        return this.#promote(stage);
      case "rollback":
        return this.#rollBack(stage);
      case "audit_export":
        return this.#exportAudit(stage);
    }
  }

  async #program(
    stage: StageOf<"data_preparation"> | StageOf<"model_training">,
    type: string,
  ): Promise<string> {
    const [task] = programTasks(this.#pipeline, stage);
    if (task === undefined) throw new Error(`${stage.name} has no program`);
    const done = await this.#runTask(task, type, task.stage, "");
    return done.artifacts.map((one) => `${one.name} ${one.sha256.slice(0, 12)}`).join(", ");
  }

  /** Run a task's program; its outputs become artifacts of the stage, with `prefix` before them. */
  async #runTask(
    task: ProgramTask,
    type: string,
    resource: string,
    prefix: string,
  ): Promise<Completed> {
    const outputs = [...task.outputs, "result.json"];
    const params: ProgramParams = {
      program: task.program,
      programs_digest: digestOf(this.#options.frozen.plan["programs"] as JsonValue),
      seed: this.#pipeline.seed,
      params: task.params,
      inputs: Object.fromEntries(
        Object.entries(task.inputs).map(([name, reference]) => {
          const { name: artifact, sha256 } = this.#artifact(reference);
          return [name, { artifact, sha256 }];
        }),
      ),
      outputs: Object.fromEntries(outputs.map((file) => [file, `${task.stage}/${prefix}${file}`])),
      limits: { ...DEFAULT_LIMITS, ...task.limits },
    };
    const action = { type, resource, params: params as JsonObject };
    const done = await this.#perform(task.stepId, task.role, action);
    this.#learn(task.stage, done.artifacts);
    return done;
  }

  async #train(stage: StageOf<"model_training">): Promise<string> {
    const { session, authority, frozen, modulesDigest } = this.#options;
    const detail = await this.#program(stage, "model.train");
    // A process that was killed in between may have trained the model, and signed nothing about it.
    const record = await this.#unattested(stage.name, SLSA_PROVENANCE_TYPE);
    if (record === null) return detail;
    const products = stage.outputs.map((file) => this.#artifact(`${stage.name}/${file}`));
    const provenance = provenanceOf({
      stage,
      runId: session.plan.runId,
      seed: this.#pipeline.seed,
      inputs: Object.values(stage.inputs).map((reference) => this.#artifact(reference)),
      programs: frozen.plan["programs"] as Record<string, string>,
      modulesDigest,
      startedOn: record.begunAt,
      finishedOn: record.endedAt,
    });
    const subjects = products.map(({ name, sha256 }) => ({ name, sha256 }));
    const sign = async (): Promise<Record<string, Envelope>> => ({
      provenance: await authority.issueProvenance(subjects, provenance),
    });
    await session.attest(SLSA_PROVENANCE_TYPE, sign, { stage: stage.name });
    return detail;
  }

  /** What the ledger says of a stage's step; null where a statement of this type was signed. */
  async #unattested(stage: string, type: string): Promise<StepRecord | null> {
    const record = await this.#options.session.recordOf(stage);
    if (record === null) throw new Error(`${stage} has no recorded end`);
    return record.attested.has(type) ? null : record;
  }

  async #agents(stage: StageOf<"agent_chain">): Promise<string> {
    const tasks = programTasks(this.#pipeline, stage);
    const ends = await Promise.allSettled(tasks.map((task) => this.#agent(task)));
    const votes: Vote[] = [];
    for (const [index, end] of ends.entries()) {
      if (end.status === "fulfilled") votes.push(end.value);
      else await this.#abstain(tasks[index]?.role ?? "", end.reason);
    }
    return this.#judge(stage, votes);
  }

  async #agent(task: ProgramTask): Promise<Vote> {
    const { artifacts } = this.#options;
    const { role, stage } = task;
    await this.#runTask(task, "agent.judge", role, `${role}.`);
    const output = this.#artifact(`${stage}/${role}.verdict.json`);
    const { verdict, claims } = parseAgentVerdict(task, await artifacts.get(output));
    return { role, verdict, claims, output };
  }

  /**
   * An agent that fails casts no vote, and so does one that hangs, floods or kills itself until a
   * limit ends it. A stop, a refusal or what is no agent's fault stops the run.
   */
  async #abstain(role: string, reason: unknown): Promise<void> {
    const stopped = reason instanceof RunStopped && !reason.passes;
    const failed = stopped && isAgentsOwnEnd(reason.outcome);
    if (!failed && !isSovereignError(reason, "ERR_VERDICT_MALFORMED")) throw reason;
    const detail = cutText(reason.message, 500);
    this.#options.onProgress({ event: "agent.faulty", role, detail });
    await this.#options.session.note("agent.abstained", "WARNING", { role, reason: detail });
  }

  async #judge(stage: StageOf<"agent_chain">, votes: readonly Vote[]): Promise<string> {
    const { session, onProgress } = this.#options;
    const electorate = stage.agents.map((agent) => agent.role);
    const cast = await castVotes(this.#options, stage.name, votes);
    const result = judgeVotes(cast, { electorate, ...this.#rulesOf(stage) });
    const ballot = { ballot: stage.name };
    for (const fault of result.faulty) {
      onProgress({ event: "agent.faulty", role: fault.role, detail: describeFault(fault) });
    }
    const reached = result.status === "SOVEREIGN_CONSENSUS_REACHED";
    const event = reached ? "consensus.reached" : "consensus.failed";
    await session.note(event, reached ? "INFO" : "ERROR", { ...ballot, ...result });
    if (!reached) {
      throw new SovereignError(
        "ERR_CONSENSUS_FAILED",
        `${stage.name}: ${result.status}: ${result.approvals.length} of ${electorate.length} agents agree to approve; the quorum is ${result.quorum}.`,
      );
    }
    const reference = stage.inputs["model"];
    if (reference !== undefined) this.#approved.set(stage.name, this.#artifact(reference).sha256);
    return `${result.approvals.length} of ${electorate.length} approve, quorum ${result.quorum}`;
  }

  /** Agents that judge a model by acceptance limits are held to the rule over their own claims. */
  #rulesOf(stage: StageOf<"agent_chain">): Omit<Ballot, "electorate"> {
    const inputs = Object.entries(stage.inputs).map(([name, reference]): [string, string] => [
      name,
      this.#artifact(reference).sha256,
    ]);
    return ballotRules({
      acceptance: stage.params?.["acceptance"],
      inputs: Object.fromEntries(inputs),
      seed: this.#pipeline.seed,
    });
  }

  async #promote(stage: StageOf<"promotion">): Promise<string> {
    const model = this.#artifact(stage.inputs.model);
    if (stage.consensus !== "none" && this.#approved.get(stage.consensus) !== model.sha256) {
      throw new SovereignError(
        "ERR_CONSENSUS_FAILED",
        `${stage.name}: ${stage.consensus} did not approve the model ${model.sha256}.`,
      );
    }
    await this.#perform(stage.name, stage.role, {
      type: "model.promote",
      resource: stage.model,
      params: {
        artifact: model.name,
        sha256: model.sha256,
        bytes: model.bytes,
        consensus: stage.consensus,
        ...(await this.#replaced(stage.name, stage.model)),
      },
    });
    this.#promoted.set(stage.name, model.sha256);
    return `${stage.model} is now ${model.sha256.slice(0, 12)}`;
  }

  /**
   * What a switch replaces is part of what is approved. What was authorised before is asked for in
   * the same words, whatever is current by now; runs of before had none.
   */
  async #replaced(stepId: string, model: string): Promise<JsonObject> {
    const { session, models } = this.#options;
    const authorized = await session.authorizedAction(stepId);
    if (authorized === null) return { replaces: await models.current(model) };
    const { replaces } = authorized.params;
    return replaces === undefined ? {} : { replaces };
  }

  async #rollBack(stage: StageOf<"rollback">): Promise<string> {
    const { session, authority } = this.#options;
    const target = this.#promoted.get(stage.restore);
    if (target === undefined) throw new Error(`${stage.restore} promoted nothing`);
    const done = await this.#perform(stage.name, stage.role, {
      type: "model.rollback",
      resource: stage.model,
      params: { sha256: target, ...(await this.#replaced(stage.name, stage.model)) },
    });
    const proof = done.output as unknown as RollbackProof;
    const kind = "rollback-proof";
    if ((await this.#unattested(stage.name, predicateType(kind))) !== null) {
      const subjects = [{ name: stage.model, sha256: proof.after }];
      const sign = async (): Promise<Record<string, Envelope>> => ({
        proof: await authority.issue(kind, subjects, proof, "attestation", null),
      });
      await session.attest(predicateType(kind), sign, { stage: stage.name });
    }
    return `${stage.model} is ${proof.after.slice(0, 12)} again: ${proof.restored_bytes} bytes read back and hashed`;
  }

  async #exportAudit(stage: StageOf<"audit_export">): Promise<string> {
    const done = await this.#perform(stage.name, stage.role, {
      type: "evidence.export",
      resource: "immutable_audit.jsonl",
      params: { artifact: `${stage.name}/immutable_audit.jsonl`, formats: [...stage.formats] },
    });
    this.#learn(stage.name, done.artifacts);
    return done.artifacts.map((one) => `${one.name} ${one.sha256.slice(0, 12)}`).join(", ");
  }

  #perform(stepId: string, role: string, action: Action): Promise<Completed> {
    const checked = parseFormat(formats.action, action, stepId);
    return this.#options.session.perform({ stepId, role, action: checked });
  }

  #artifact(reference: string): ArtifactRef {
    const artifact = this.#known.get(reference);
    if (artifact !== undefined) return artifact;
    throw new SovereignError("ERR_PIPELINE_REFERENCE", `There is no artifact ${reference}.`);
  }

  #learn(stage: string, artifacts: readonly ArtifactRef[]): void {
    for (const artifact of artifacts) {
      this.#known.set(`${stage}/${artifact.name.split("/").at(-1) ?? ""}`, artifact);
    }
  }
}

/** True for an end that the agent brought about by itself. */
function isAgentsOwnEnd({ status, code }: RunStopped["outcome"]): boolean {
  return status === "FAILED" || (status === "KILLED" && code === "ERR_PROGRAM_KILLED");
}

/** Names the liar's claim beside what the quorum found. */
function describeFault(fault: Fault): string {
  const [first] = fault.differs;
  return first === undefined ? fault.kind : `${fault.kind}: ${JSON.stringify(first)}`;
}
