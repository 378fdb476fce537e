import {
  canonicalBytes,
  digestOf,
  SCHEMA_VERSION,
  SovereignError,
  toolOfAgent,
  type ToolTaskPack,
} from "@sovereign/core";
import { type GivenPack, parseTaskPack } from "./read-pack.ts";

/** A task as it was typed. */
export interface TaskWords {
  readonly agent: string;
  /** The tool's version that is installed; null where nobody looked. */
  readonly version: string | null;
  readonly model: string;
  readonly task: string;
  readonly verify: readonly string[];
  readonly timeoutSeconds: number | null;
  readonly budgetMicrousd: number | null;
  /** How many model calls it may make. */
  readonly turnsMax: number | null;
  /** Where it may change files; none for all of the repository. */
  readonly scope: readonly string[];
  readonly forbid: readonly string[];
  readonly review: boolean;
}

/** Where the repository stands when the task is given. */
export interface TaskPlace {
  readonly branch: string | null;
  readonly commit: string;
  readonly policyDigest: string;
  /** UTC. */
  readonly at: string;
}

const GATES = ["TL-A", "TL-B", "TL-C", "TL-D", "TL-E", "TL-F"];

/**
 * A task as a pack: what the tool is asked, from which commit, in which scope, and by what the result
 * is accepted. Its id is that of its content.
 *
 * @throws ERR_TOOL_PACK_INVALID for words that no pack may hold, such as a scope with `..`
 */
export function issueTaskPack(words: TaskWords, place: TaskPlace): GivenPack {
  const tool = toolOfAgent(words.agent);
  if (tool === null) {
    const text = `Expected an agent that task packs know, found ${words.agent}. Try: sovereign tool health`;
    throw new SovereignError("ERR_TOOL_PACK_INVALID", text);
  }
  const pack: Omit<ToolTaskPack, "tool_task_pack_id"> = {
    schema_version: SCHEMA_VERSION,
    created_at: place.at,
    tool_type: tool,
    repo_state: {
      branch: place.branch,
      commit_hash: place.commit,
      is_dirty: null,
      remote_url: null,
    },
    work_scope: {
      allowed_directories: words.scope.length === 0 ? ["."] : [...words.scope],
      forbidden_paths: [...words.forbid],
    },
    steps: [
      {
        step_id: "step_01",
        goal: words.task,
        constraints: { must: [], must_not: [] },
        expected_artifacts: [],
        verification_commands: [...words.verify],
      },
    ],
    prompt_pack: { system_prompt: null, red_lines: [], examples: [] },
    acceptance: { gates: GATES, tests: [], policy_checks: ["work_scope", "red_lines"] },
    limits: {
      timeout_seconds: words.timeoutSeconds,
      turns: words.turnsMax,
      budget_microusd: words.budgetMicrousd,
    },
    policy_digest: place.policyDigest,
    metadata: {
      requires_review: words.review,
      model_name: words.model,
      ...(words.version === null ? {} : { tool_version: words.version }),
    },
  };
  const id = `ttpack_${digestOf(pack).slice(0, 20)}`;
  const whole = { tool_task_pack_id: id, ...pack };
  // Read back like one of somebody else's: what is written may be handed on.
  return parseTaskPack(canonicalBytes(whole), "The task");
}
