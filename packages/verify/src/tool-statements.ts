import {
  type ArtifactRef,
  GATE_DOCUMENTS,
  isToolRun,
  type PlacedEntry,
  type Predicate,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import type { DoneStep, RunStory } from "./run-story.ts";
import { expectEqual, wrong } from "./step-recorder.ts";

/** The signed statements of what a tool was asked, and of what came of it. */
export class ToolStatements {
  readonly #evidence: Evidence;
  readonly #story: RunStory;
  #task: Predicate<"tool-task"> | null = null;
  #result: Predicate<"tool-result"> | null = null;

  constructor(evidence: Evidence, story: RunStory) {
    this.#evidence = evidence;
    this.#story = story;
  }

  /** Before the tool works: one task in a run. */
  task(digest: string, entry: PlacedEntry): void {
    if (this.#task !== null) throw wrong("The run has two tasks for a tool.");
    if (this.#story.ranAgent) throw wrong("The task was signed after the tool began.");
    const { predicate } = this.#evidence.open(digest, "tool-task", entry);
    expectEqual(predicate.run_id, entry.entry.run_id, "The task's run");
    this.#task = predicate;
  }

  result(digest: string, entry: PlacedEntry): void {
    if (this.#result !== null) throw wrong("The run has two results of a tool.");
    const { predicate } = this.#evidence.open(digest, "tool-result", entry);
    expectEqual(predicate.run_id, entry.entry.run_id, "The result's run");
    this.#result = predicate;
  }

  /**
   * Where the tool's work named a task pack, its statement is about that pack, in that role. A sealed
   * run records the pack, and its statement of the result is about the result pack that it records.
   */
  requireWhole(artifacts: readonly ArtifactRef[]): void {
    const work = this.#work();
    for (const one of work) this.#requireTask(one);
    const { entries } = this.#evidence.bundle;
    if (entries.at(-1)?.entry.event_type !== "run.sealed") return;
    const isNamed = work.some(({ params }) => params["task_pack"] !== undefined);
    if (isNamed || isToolRun(entries) || this.#task !== null) this.#requirePacks(artifacts);
  }

  #requireTask({ params, role }: DoneStep): void {
    if (params["task_pack"] === undefined && this.#task === null) return;
    expectEqual(this.#task?.sha256, params["task_pack"], "The digest of the task that was signed");
    expectEqual(this.#task?.role, role, "The role that signed the task");
  }

  #requirePacks(artifacts: readonly ArtifactRef[]): void {
    const named = (name: string): string | undefined =>
      artifacts.find((one) => one.name === name)?.sha256;
    if (this.#task === null) throw wrong("The task of the tool was not signed.");
    if (named(GATE_DOCUMENTS.taskPack) === undefined) throw wrong("The task pack is not recorded.");
    expectEqual(this.#result?.sha256, named(GATE_DOCUMENTS.resultPack), "The signed result pack");
  }

  #work(): DoneStep[] {
    return [...this.#story.steps.values()].filter(({ type }) => type === "agent.run");
  }
}
