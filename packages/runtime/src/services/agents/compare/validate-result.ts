import { join } from "node:path";
import {
  type ActionContext,
  type GateResult,
  canonicalBytes,
  cutText,
  isSovereignError,
  type JsonObject,
  judgeResultClaims,
  type ResultAcceptance,
  type ResultClaims,
  sha256Hex,
} from "@sovereign/core";
import {
  createExecutorEffects,
  formatPatch,
  reopenRepository,
  readChanges,
  ReviewedPolicy,
  removeHostile,
  workLimits,
  Workspace,
} from "../../../executor/index.ts";
import {
  defineEffect,
  type Effect,
  type EffectResult,
  type Invocation,
  type PolicyDecider,
} from "../../../kernel/index.ts";
import { type CompiledPolicy, PolicyEngine } from "../../../policy/index.ts";
import type { ArtifactStore } from "../../../runs/index.ts";
import type { Sandbox } from "../../../sandbox/index.ts";
import type { Clock } from "../../../system/index.ts";

/** What an agent came to, as its own run's ledger says. */
export interface CandidateResult {
  /** The agent's own run. */
  readonly run: string;
  readonly commit: string;
  readonly tree: string;
  /** SHA-256 of its patch. */
  readonly patch: string;
}

export interface ValidatorOptions {
  readonly root: string;
  readonly policy: CompiledPolicy;
  readonly sandbox: Sandbox;
  readonly artifacts: ArtifactStore;
  readonly folder: string;
  readonly acceptance: ResultAcceptance;
  /** Of a ballot. */
  readonly candidate: (ballot: string) => CandidateResult | null;
  /** What gates say of the agent's own run. */
  readonly gates: (run: string) => Promise<readonly GateResult[]>;
  readonly clock: Clock;
}

/** The ballot and the voter of a validator's step. */
export function placeOf(stepId: string): { ballot: string; role: string } {
  const [ballot = "", role = ""] = stepId.split(".");
  return { ballot, role };
}

export function verdictName(ballot: string, role: string): string {
  return `${ballot}/${role}.verdict.json`;
}

/**
 * One validator's judgement of one result: it makes the patch again from the commit, asks policy about
 * each change, and runs every command on the result's tree in a sandbox of its own. What it writes is
 * what it found; nothing of its time or place is in it, so honest validators write the same.
 */
export function createValidatorEffect(options: ValidatorOptions): Effect {
  return defineEffect("agent.judge", async (invocation): Promise<EffectResult> => {
    const { artifacts } = options;
    const { context, signal } = invocation;
    const { ballot, role } = placeOf(context.step_id);
    const candidate = options.candidate(ballot);
    if (candidate === null) throw new Error(`there is no result ${ballot}`);
    const started = performance.now();
    const folder = join(options.folder, ballot, role);
    try {
      const judged = await new Judgement(options, invocation, candidate, folder).judge();
      if (signal.aborted) {
        return { status: "killed", code: "ERR_EFFECT_KILLED", reason: "the validator was stopped" };
      }
      const { claims, used, gates } = judged;
      const verdict = judgeResultClaims(claims) ?? "reject";
      const findings = [...findingsOf(claims), ...gateFindings(gates)];
      const bytes = canonicalBytes({ role, verdict, claims: claims as JsonObject, findings });
      const file = await artifacts.put(verdictName(ballot, role), bytes, "application/json");
      const summary: JsonObject = { verdict, findings };
      return {
        status: "completed",
        output: { ...used, summary, summary_digest: sha256Hex(canonicalBytes(summary)) },
        artifacts: [file],
        usage: { wall_ms: Math.round(performance.now() - started), output_bytes: bytes.length },
      };
    } finally {
      await removeHostile(folder);
    }
  });
}

type Used = { sandbox_level: string; sandbox_backend: string };

class Judgement {
  readonly #options: ValidatorOptions;
  readonly #invocation: Invocation;
  readonly #candidate: CandidateResult;
  readonly #folder: string;
  readonly #decider: PolicyDecider;
  /** A validator that runs no command has used no sandbox. */
  #used: Used = { sandbox_level: "none", sandbox_backend: "none" };

  constructor(
    options: ValidatorOptions,
    invocation: Invocation,
    candidate: CandidateResult,
    folder: string,
  ) {
    this.#options = options;
    this.#invocation = invocation;
    this.#candidate = candidate;
    this.#folder = folder;
    this.#decider = new ReviewedPolicy(new PolicyEngine(options.policy));
  }

  async judge(): Promise<{ claims: ResultClaims; used: Used; gates: readonly GateResult[] }> {
    const { root, policy, acceptance } = this.#options;
    const { commit, patch: given } = this.#candidate;
    const user = await reopenRepository(root);
    const head = { ref: null, commit, tree: this.#candidate.tree };
    const limits = workLimits(policy);
    const space = await Workspace.open(this.#folder, user, head, this.#decider, limits);
    const { git } = space;
    const base = await git.text(["rev-parse", "--verify", `${commit}^`]);
    const tree = await git.text(["rev-parse", "--verify", `${commit}^{tree}`]);
    const before = await git.text(["rev-parse", "--verify", `${base}^{tree}`]);
    const changes = await readChanges(git, before, tree);
    const refusals = await this.#refusals(space, changes, before, tree);
    const verify: ResultClaims["verify"] = [];
    for (const [index, argv] of acceptance.verify.entries()) {
      verify.push({ argv, code: await this.#run(space, user, tree, argv, index) });
    }
    const gates = await this.#gates();
    const derived = sha256Hex(await formatPatch(git, commit));
    return {
      claims: {
        acceptance,
        artifacts: { result: { given, derived } },
        result: { base, commit, tree, files_changed: changes.length },
        scope: { refused: refusals.length, first: refusals[0] ?? null },
        verify,
        ...(acceptance.gates === undefined
          ? {}
          : { gates: gates.map(({ gate, verdict }) => ({ gate, verdict })) }),
        seed: 0,
      },
      used: this.#used,
      gates,
    };
  }

  /** Those that are asked for: each validator reads the evidence of the agent's run itself. */
  async #gates(): Promise<readonly GateResult[]> {
    const { acceptance, gates } = this.#options;
    const wanted = acceptance.gates ?? [];
    if (wanted.length === 0) return [];
    return (await gates(this.#candidate.run)).filter((one) => wanted.includes(one.gate));
  }

  /** Policy is asked about each change, as when a step makes it; the limits hold for all together. */
  async #refusals(
    space: Workspace,
    changes: Awaited<ReturnType<typeof readChanges>>,
    before: string,
    tree: string,
  ): Promise<string[]> {
    const { context } = this.#invocation;
    const refusals: string[] = [];
    for (const { path, status } of changes) {
      const allowed = TYPES[status].some((type) => {
        const decision = this.#decider.decide({ type, resource: path, params: {} }, context);
        return decision.effect === "allow" && !decision.observed;
      });
      if (!allowed) refusals.push(cutText(`policy does not allow that ${path} is ${status}`, 500));
    }
    try {
      await space.judgeWhole(before, tree);
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      refusals.push(cutText(error.message, 500));
    }
    return refusals;
  }

  /** @returns the code of the failure; null where it succeeded */
  async #run(
    space: Workspace,
    user: Awaited<ReturnType<typeof reopenRepository>>,
    tree: string,
    argv: readonly string[],
    index: number,
  ): Promise<string | null> {
    const { sandbox, artifacts, clock } = this.#options;
    const [resource = "", ...args] = argv;
    const params = { argv: args, cwd: "", kind: "verify", before: tree };
    const action = { type: "command.run", resource, params };
    const context: ActionContext = {
      ...this.#invocation.context,
      step_id: `${this.#invocation.context.step_id}.verify_${index + 1}`,
    };
    const decision = this.#decider.decide(action, context);
    if (decision.effect !== "allow" || decision.observed) return "ERR_POLICY_DENIED";
    const effects = createExecutorEffects({
      workspace: space,
      repository: user,
      base: { ref: null, commit: this.#candidate.commit, tree },
      artifacts,
      folder: this.#folder,
      sandbox,
      contents: () => null,
      modules: join(user.root, "node_modules"),
      toolset: null,
      clock,
    });
    const run = effects["command.run"];
    if (run === undefined) throw new Error("no effect runs commands");
    const end = await run({ ...this.#invocation, action, context });
    if (end.status !== "completed") return end.code;
    const { sandbox_level, sandbox_backend } = end.output as Used;
    this.#used = { sandbox_level, sandbox_backend };
    return null;
  }
}

const TYPES = {
  added: ["file.write"],
  modified: ["file.update", "file.write"],
  deleted: ["file.delete"],
} as const;

function gateFindings(gates: readonly GateResult[]): string[] {
  return gates
    .filter(({ verdict }) => verdict === "fail")
    .map(({ gate, message }) => cutText(`${gate}: ${message}`, 500));
}

/** Why a result is no good, for people. */
function findingsOf({ artifacts, result, scope, verify, acceptance }: ResultClaims): string[] {
  const { given, derived } = artifacts.result;
  return [
    ...(given === derived ? [] : ["the patch is not the one that the agent's run recorded"]),
    ...(result.base === acceptance.base ? [] : ["it does not begin with the commit of the others"]),
    ...(result.files_changed > 0 ? [] : ["it changes nothing"]),
    ...(scope.first === null ? [] : [scope.first]),
    ...verify.flatMap(({ argv, code }) =>
      code === null ? [] : [cutText(`${argv.join(" ")}: ${code}`, 500)],
    ),
  ];
}
