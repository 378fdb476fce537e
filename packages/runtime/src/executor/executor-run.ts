import {
  type Action,
  type ActionOutput,
  type ActionParams,
  ACTIONS,
  cutText,
  formats,
  type JsonObject,
  type JsonValue,
  parseFormat,
  type StepResult,
  treeOutput,
  type UnchangedStep,
} from "@sovereign/core";
import type { z } from "zod";
import type { Completed } from "../kernel/index.ts";
import { type RunSession, RunStopped } from "../runs/index.ts";
import { patchName } from "./commit-effects.ts";
import { commitMessage, type Head } from "./git/index.ts";
import {
  type PlannedOperation,
  type PlannedRequest,
  type PlannedStep,
  requestSeconds,
} from "./request.ts";
import type { RunTape } from "./run-tape.ts";

/** Told as a run goes on, for people who watch. */
export type ExecProgress =
  | {
      readonly event: "keys.enrolled";
      readonly keys: readonly {
        readonly purpose: string;
        readonly role: string;
        readonly key_id: string;
      }[];
    }
  | { readonly event: "exec.started"; readonly run: string; readonly steps: number }
  | { readonly event: "step.started"; readonly step: string; readonly operations: number }
  | {
      readonly event: "step.completed";
      readonly step: string;
      readonly commit: string;
      readonly files: number;
    }
  | { readonly event: "step.unchanged"; readonly step: string }
  | { readonly event: "exec.unchanged" }
  | {
      readonly event: "command.failed";
      readonly step: string;
      /** Of its whole output: the artifact's name, its size, and the last lines; untrusted. */
      readonly log: string;
      readonly bytes: number;
      readonly lines: readonly string[];
    }
  | {
      readonly event: "exec.brought_back";
      readonly head: string;
      readonly commits: number;
      /** Where bytes of another program are that it wrote while files were moved. */
      readonly kept: readonly string[];
    }
  | {
      /** The repository is proved to be what it was before the run. */
      readonly event: "rollback.proved";
      readonly run: string;
      readonly base: string;
      readonly tree: string;
      /** Files that the rollback changed. */
      readonly files: number;
      readonly kept: readonly string[];
    };

export interface ExecutorRunOptions {
  readonly session: RunSession;
  readonly planned: PlannedRequest;
  readonly base: Head;
  readonly tape: RunTape;
  readonly onProgress: (progress: ExecProgress) => void;
  /** True where the commits are not to be brought back now. */
  readonly waits?: () => boolean;
}

/** What the steps came to, as far as they came. */
export interface StepsDone {
  readonly steps: StepResult[];
  /** Those that ended and changed nothing. */
  readonly unchanged: UnchangedStep[];
  readonly sandboxLevels: string[];
  readonly sandboxBackends: string[];
  broughtBack: ActionOutput<"git.bring_back"> | null;
}

/**
 * Walk a request's steps: each operation an action through the kernel, each step one commit on our
 * side, and at the end all of them brought back to the user's branch in one move. What an earlier
 * process completed is recalled.
 */
export class ExecutorRun {
  readonly #options: ExecutorRunOptions;
  readonly done: StepsDone = {
    steps: [],
    unchanged: [],
    sandboxLevels: [],
    sandboxBackends: [],
    broughtBack: null,
  };
  #tree: string;
  #parent: string;
  /** Of the last commit. */
  #parentTree: string;

  constructor(options: ExecutorRunOptions) {
    this.#options = options;
    this.#tree = options.base.tree;
    this.#parent = options.base.commit;
    this.#parentTree = options.base.tree;
  }

  /** @throws RunStopped where the kernel refused or an effect failed */
  async run(): Promise<void> {
    for (const step of this.#options.planned.steps) await this.#step(step);
    // Where no step changed anything, there is nothing that anybody would have to allow.
    if (this.done.steps.length === 0) this.#options.onProgress({ event: "exec.unchanged" });
    else if (this.#options.waits?.() !== true) await this.#bringBack();
  }

  async #step(step: PlannedStep): Promise<void> {
    const { tape, onProgress } = this.#options;
    const { stepId } = step;
    tape.add("step_start", stepId, { operations: step.operations.length });
    onProgress({ event: "step.started", step: stepId, operations: step.operations.length });
    let files = 0;
    const ciFiles = new Set<string>();
    try {
      for (const operation of step.operations) {
        const output = await this.#operation(stepId, operation);
        files += output.files_changed;
        for (const path of output.ci_files ?? []) ciFiles.add(path);
      }
      if (this.#tree === this.#parentTree) this.#endUnchanged(step);
      else await this.#endCommitted(step, files, [...ciFiles].sort());
    } catch (error) {
      tape.add("step_failed", stepId, { reason: reasonOf(error) });
      throw error;
    }
  }

  async #endCommitted(step: PlannedStep, files: number, ciFiles: readonly string[]): Promise<void> {
    const { tape, onProgress } = this.#options;
    const { stepId } = step;
    const made = await this.#commit(step, ciFiles);
    this.done.steps.push({
      step_id: stepId,
      commit: made.commit,
      parent: made.parent,
      tree: made.tree,
      patch_sha256: made.patch_sha256,
      files_changed: files,
      operations: step.operations.length,
    });
    const checksums = { [patchName(stepId)]: made.patch_sha256 };
    tape.add("step_end", stepId, { commit: made.commit, tree: made.tree, checksums });
    onProgress({ event: "step.completed", step: stepId, commit: made.commit, files });
  }

  /** A step that only looks, such as one that tests, leaves no empty commit. */
  #endUnchanged({ stepId, operations }: PlannedStep): void {
    const { tape, onProgress } = this.#options;
    const tree = this.#tree;
    this.done.unchanged.push({ step_id: stepId, tree, operations: operations.length });
    tape.add("step_end", stepId, { commit: null, tree, checksums: {} });
    onProgress({ event: "step.unchanged", step: stepId });
  }

  async #operation(
    stepId: string,
    operation: PlannedOperation,
  ): Promise<z.infer<typeof treeOutput>> {
    const { tape } = this.#options;
    const { type, resource, params } = operation.action;
    const about = { op_id: operation.opId, type, resource };
    tape.add("operation_start", stepId, about);
    const action = { type, resource, params: { ...params, before: this.#tree } };
    const done = await this.#perform(`${stepId}.${operation.opId}`, stepId, about, action);
    const output = parseFormat(treeOutput, done.output, `${stepId}.${operation.opId}`);
    const { sandbox_level: level, sandbox_backend: backend } = output;
    if (typeof level === "string") this.done.sandboxLevels.push(level);
    if (typeof backend === "string") this.done.sandboxBackends.push(backend);
    tape.add("operation_end", stepId, { ...about, tree: output.tree, files: output.files_changed });
    this.#tree = output.tree;
    return output;
  }

  async #commit(
    step: PlannedStep,
    ciFiles: readonly string[],
  ): Promise<ActionOutput<"git.commit">> {
    const { planned, session } = this.#options;
    const { author, co_authors: coAuthors = [] } = planned.request;
    const message = commitMessage({
      stepId: step.stepId,
      operations: step.operations.length,
      requestId: planned.request.exec_request_id,
      requestDigest: planned.digest,
      runId: session.plan.runId,
      note: step.note,
      coAuthors,
    });
    const at = requestSeconds(planned);
    const params: JsonObject = { tree: this.#tree, parent: this.#parent, message, at };
    if (author !== undefined) params["author"] = author;
    if (ciFiles.length > 0) params["ci_files"] = [...ciFiles];
    const action = { type: "git.commit", resource: step.stepId, params };
    const about = { op_id: "commit", type: action.type, resource: step.stepId };
    const done = await this.#perform(`${step.stepId}.commit`, step.stepId, about, action);
    const output = parseFormat(ACTIONS["git.commit"].output, done.output, `${step.stepId}.commit`);
    this.#parent = output.commit;
    this.#parentTree = output.tree;
    return output;
  }

  async #bringBack(): Promise<void> {
    const { planned, base, tape, session, onProgress } = this.#options;
    const patches = this.done.steps.map((one) => ({
      step_id: one.step_id,
      sha256: one.patch_sha256,
      bytes: session.artifacts.find((ref) => ref.name === patchName(one.step_id))?.bytes ?? 0,
      commit: one.commit,
      tree: one.tree,
    }));
    const params: ActionParams<"git.bring_back"> = {
      request_digest: planned.digest,
      review: planned.request.requires_review,
      base: base.commit,
      patches,
    };
    const resource = base.ref ?? "HEAD";
    tape.add("bring_back_start", null, { base: base.commit, patches: patches.length });
    const action = { type: "git.bring_back", resource, params: params as JsonObject };
    const about = { op_id: "bring_back", type: action.type, resource };
    const done = await this.#perform("bring_back", null, about, action);
    const output = parseFormat(ACTIONS["git.bring_back"].output, done.output, "bring back");
    this.done.broughtBack = output;
    tape.add("bring_back_end", null, {
      head: output.head,
      tree: output.tree,
      commits: output.commits,
      ...(output.kept === undefined ? {} : { kept: output.kept }),
    });
    const { head, commits, kept = [] } = output;
    const places = kept.map((one) => one.kept);
    onProgress({ event: "exec.brought_back", head, commits: commits.length, kept: places });
  }

  async #perform(
    stepId: string,
    step: string | null,
    about: JsonObject,
    action: Action,
  ): Promise<Completed> {
    const { session, planned, tape } = this.#options;
    const checked = parseFormat(formats.action, action, stepId);
    try {
      return await session.perform({ stepId, role: planned.request.role, action: checked });
    } catch (error) {
      if (error instanceof RunStopped) {
        const { status, code, reason } = error.outcome;
        const why: { [key: string]: JsonValue } = { status, code, reason: cutText(reason, 1000) };
        tape.add("operation_refused", step, { ...about, ...why });
      }
      throw error;
    }
  }
}

function reasonOf(error: unknown): string {
  return cutText(error instanceof Error ? error.message : "unknown", 1000);
}
