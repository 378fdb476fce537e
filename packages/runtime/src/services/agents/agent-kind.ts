import { join } from "node:path";
import {
  type ActionContext,
  type ErrorCode,
  formats,
  GATE_DOCUMENTS,
  type ModelWire,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import {
  type AgentAdapter,
  adapterOf,
  type AgentProgram,
  createAgentEffect,
  digestOfProgram,
  type ModelDoor,
  ToolCalls,
} from "../../coding/index.ts";
import {
  forgetResult,
  type Head,
  reopenRepository,
  nameResult,
  readHead,
  requireFreeBranch,
  requireRunnable,
} from "../../executor/index.ts";
import type { Effect, EffectRegistry, PolicyDecider } from "../../kernel/index.ts";
import type { ScramLink } from "../../scram/index.ts";
import { type CompiledPolicy, PolicyEngine } from "../../policy/index.ts";
import { ArtifactStore, type RunSession } from "../../runs/index.ts";
import { type ExecContext, type FrozenExec, freezeExec } from "../exec/exec-context.ts";
import { findTools } from "../exec/find-tools.ts";
import { readCommits } from "../exec/mend-repository.ts";
import {
  EXECUTION,
  type ExecutionInput,
  type ExecutionVariant,
  type HeldRepository,
  openWork,
  type VariantParts,
} from "../exec/execution-kind.ts";
import type { AgentDecision } from "./agent-reports.ts";
import { packHooks } from "./pack-hooks.ts";
import type { Ending, RunKind, RunOptions, RunWork, KnownRun } from "../runs/lifecycle.ts";

export interface AgentInput extends ExecutionInput {
  readonly agent: string;
  /** The words of its program where the user names it; else null. */
  readonly command: readonly string[] | null;
  /** The branch on which the result waits; null for one that is named after the run. */
  readonly branch: string | null;
  /** In canonical form: evidence from the first on. */
  readonly taskPack: Uint8Array;
}

/** What an agent needs of this machine, found when it is needed. */
export interface AgentParts {
  /**
   * @param command the words of one that the user names; null for others
   * @param root the tree in which it works
   */
  program(adapter: AgentAdapter, command: readonly string[] | null, root: string): AgentProgram;
  model(run: ModelRun): ModelDoor;
  /** What is secret here: it stands in no transcript. */
  readonly secrets: readonly string[];
}

/** Whose calls a model is asked for. */
export interface ModelRun {
  readonly tenantId: string;
  readonly session: () => RunSession;
  readonly scram: () => ScramLink;
  readonly context: ActionContext;
  readonly policy: PolicyDecider;
  readonly model: string;
  /** How the agent speaks to it; null where that is its own business. */
  readonly wire: ModelWire | null;
  readonly budgetMicrousd: number | null;
  readonly turnsMax: number | null;
}

type Known = KnownRun<FrozenExec, HeldRepository>;

/** Runs of coding agents. @param decision what this process was told to do with the result */
export function agentKind(
  decision: AgentDecision,
  parts: AgentParts,
): RunKind<AgentInput, FrozenExec, HeldRepository> {
  return {
    ...EXECUTION,
    hold: async (options, runId, input) => {
      // What is missing is told before there is a run.
      const adapter = adapterOf(input.agent);
      const { command } = input;
      if (command === null) parts.program(adapter, null, "");
      const held = await EXECUTION.hold(options, runId, input);
      try {
        if (command !== null) parts.program(adapter, command, held.repository.root);
        await requireFreeBranch(held.repository, branchOf(input.branch ?? `sovereign/${runId}`));
        return held;
      } catch (error) {
        held.release();
        throw error;
      }
    },
    freeze: async ({ installation }, input, folder, { repository }) => {
      const { agent, branch, read, environment } = input;
      const runId = folder.slice(folder.lastIndexOf("/") + 1);
      const about = {
        name: agent,
        branch: branchOf(branch ?? `sovereign/${runId}`),
        named: branch !== null,
      };
      const head = await readHead(repository);
      const dataFolder = installation.folder.root;
      const toolset = await findTools(read.policy, repository, head, { environment, dataFolder });
      const frozen = await freezeExec(folder, read, repository, head, toolset, about);
      requireRunnable(frozen.planned);
      await keepPack(folder, input.taskPack, head.commit);
      return frozen;
    },
    work: (options, run) => openAgent(options, run, decision, parts),
    cleanUp: async (options, runId, frozen) => {
      await forgetUnnamed(options, runId, decision, frozen);
      await EXECUTION.cleanUp?.(options, runId, frozen);
    },
  };
}

/** @throws ERR_REPOSITORY_MOVED where the branch moved since the task was given */
async function keepPack(folder: string, pack: Uint8Array, head: string): Promise<void> {
  const { repo_state: state } = parseFormat(formats.toolTaskPack, parseStrictJson(pack), "pack");
  if (state.commit_hash !== head) throw movedFrom(state.commit_hash, head);
  await new ArtifactStore(folder).put(GATE_DOCUMENTS.taskPack, pack, "application/json");
}

/** A task that was given for another commit. */
export function movedFrom(wanted: string, head: string): SovereignError {
  const text = `The task pack is for the commit ${wanted}, and the branch is at ${head}. Go back to that commit, or make a new pack: sovereign tool pack`;
  return new SovereignError("ERR_REPOSITORY_MOVED", text, { wanted, head });
}

function branchOf(name: string): string {
  return `refs/heads/${name}`;
}

/** The branch of a run that has ended says nothing more, unless the user named it or works on it. */
async function forgetUnnamed(
  options: RunOptions,
  runId: string,
  decision: AgentDecision,
  { plan }: FrozenExec,
): Promise<void> {
  const { agent, repository } = plan;
  if (agent === undefined || agent.named) return;
  const { steps, broughtTo } = await readCommits(options, runId);
  const commit = steps.at(-1)?.commit;
  if (commit === undefined) return;
  const isDone = broughtTo !== null || decision === "discard";
  const why = isDone
    ? await forgetResult(await reopenRepository(repository.root), agent.branch, commit)
    : `it is the result, which did not come back. Take it by hand with git cherry-pick`;
  const branch = agent.branch.slice("refs/heads/".length);
  if (why !== null) options.onProgress({ event: "agent.branch_kept", branch, why });
}

function openAgent(
  options: RunOptions,
  run: Known,
  decision: AgentDecision,
  parts: AgentParts,
): Promise<RunWork> {
  return openWork(options, run, variantOf(options, run, decision, parts));
}

function variantOf(
  options: RunOptions,
  run: Known,
  decision: AgentDecision,
  parts: AgentParts,
): ExecutionVariant {
  let context: ExecContext | null = null;
  const opened = (): ExecContext => {
    if (context === null) throw new Error("the session is not open");
    return context;
  };
  const session = (): RunSession => opened().session;
  const calls = new ToolCalls(() => (step) => session().perform(step));
  const { runId } = run;
  return {
    ...packHooks(options, runId, run.frozen, opened),
    resume: "sovereign agent resume",
    opened: (made) => {
      context = made;
    },
    effects: (place) => {
      const scram = (): ScramLink => opened().scram;
      return agentEffects(options, run, { ...place, calls, parts, session, scram });
    },
    ending: async ({ repository }) => {
      if (decision === "discard") return DISCARDED;
      return decision === "apply" ? movedOn(runId, run.frozen, await readHead(repository)) : null;
    },
    waits: () => (decision === "hold" ? waiting(runId, run.frozen) : null),
  };
}

interface EffectParts extends VariantParts {
  readonly calls: ToolCalls;
  readonly parts: AgentParts;
  readonly session: () => RunSession;
  readonly scram: () => ScramLink;
}

function agentEffects(options: RunOptions, run: Known, place: EffectParts): EffectRegistry {
  const { workspace, repository, folder, sandbox, calls, parts, effects, session, scram } = place;
  const { egress, artifacts } = place;
  const { planned, policy, plan } = run.frozen;
  const { runId } = run;
  const contents = planned.steps.flatMap((step) => step.operations);
  const work: Effect = async (invocation) => {
    const adapter = adapterOf(invocation.action.resource);
    const { model, command, before, budget_microusd, max_turns } = invocation.action.params;
    const words = wordsIn(command);
    // A program of the repository is looked for in the tree in which it works.
    if (words !== null && typeof before === "string") await workspace.require(before);
    const program = parts.program(adapter, words, workspace.root);
    const effect = createAgentEffect({
      adapter,
      program,
      programDigest: await digestOfProgram(program),
      workspace,
      sandbox,
      calls,
      model: parts.model({
        tenantId: options.tenantId,
        session,
        scram,
        context: invocation.context,
        policy: new PolicyEngine(policy),
        wire: adapter.wireOf?.(modelOf(model)) ?? adapter.wire,
        model: modelOf(model),
        budgetMicrousd: numberOf(budget_microusd),
        turnsMax: numberOf(max_turns),
      }),
      egress,
      tools: toolsOf(policy),
      task: (sha256) =>
        contents.find((one) => one.action.params["sha256"] === sha256)?.content ?? null,
      modules: join(repository.root, "node_modules"),
      toolset: plan.toolset ?? null,
      artifacts,
      secrets: parts.secrets,
      onTranscript: place.onTranscript,
      folder: join(folder, "work"),
      onProgress: options.onProgress,
    });
    return effect(invocation);
  };
  const commit = effects["git.commit"];
  const named: Effect = async (invocation) => {
    if (commit === undefined) throw new Error("no commit effect");
    const made = await commit(invocation);
    const output = made.status === "completed" ? made.output : null;
    const id =
      typeof output === "object" && output !== null && "commit" in output ? output["commit"] : null;
    if (typeof id === "string" && plan.agent !== undefined) {
      const result = { ref: plan.agent.branch, run: runId, base: place.base.commit, commit: id };
      await nameResult(workspace.git, repository, result, workspace.folder);
    }
    return made;
  };
  return { ...effects, "agent.run": work, "agent.tool_call": calls.effect, "git.commit": named };
}

function modelOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function wordsIn(value: unknown): string[] | null {
  return Array.isArray(value) ? value.filter((word) => typeof word === "string") : null;
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/** The tools that a policy names at all. */
function toolsOf({ patterns }: CompiledPolicy): string[] {
  return patterns
    .filter((one) => one.kind === "resource" && one.args[0] === "agent.tool_call")
    .map((one) => one.glob);
}

const DISCARDED: Ending = {
  status: "failed",
  reason: "the result was discarded; its evidence is kept",
  code: "ERR_AGENT_DISCARDED" satisfies ErrorCode,
  outcome: null,
};

/** A result whose branch has moved on waits: its bring-back would fail, and end the run. */
function movedOn(runId: string, { plan }: FrozenExec, { ref, commit }: Head): Ending | null {
  const { agent, repository: base } = plan;
  if (commit === base.commit && ref === base.ref) return null;
  const branch = agent?.branch.slice("refs/heads/".length) ?? "";
  const at = (name: string | null, id: string): string => `${name ?? "HEAD"} at ${id.slice(0, 12)}`;
  const reason = `expected ${at(base.ref, base.commit)}, found ${at(ref, commit)}. Nothing was changed, and the result still waits. Take it by hand: git cherry-pick ${branch}. Then: sovereign agent discard ${runId}`;
  return { status: "pending", reason, code: "ERR_REPOSITORY_MOVED", outcome: null };
}

function waiting(runId: string, { plan }: FrozenExec): Ending {
  const branch = plan.agent?.branch.slice("refs/heads/".length) ?? "";
  const reason = `its result waits on the branch ${branch}: sovereign agent apply ${runId}`;
  return { status: "pending", reason, code: null, outcome: null };
}
