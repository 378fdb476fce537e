import { join } from "node:path";
import {
  type ArtifactRef,
  ballotRules,
  canonicalBytes,
  type ConsensusResult,
  cutText,
  digestOf,
  fields,
  type GateResult,
  isSovereignError,
  type JsonObject,
  judgeVotes,
  type Mode,
  parseCanonicalJson,
  parseFormat,
  parseStrictJson,
  type ResultAcceptance,
  sha256Hex,
  utf8Encode,
} from "@sovereign/core";
import { z } from "zod";
import { type UserRepository, workLimits } from "../../../executor/index.ts";
import {
  type CompiledPolicy,
  freezePolicy,
  openFrozenPolicy,
  PolicyEngine,
} from "../../../policy/index.ts";
import { castVotes, RunStopped, type Vote } from "../../../runs/index.ts";
import { replaceOwnFile, requireOwnFile } from "../../../system/index.ts";
import {
  COMPLETED,
  type Ending,
  type Held,
  KindWork,
  type KnownRun,
  NOTHING_HELD,
  type RunKind,
  type RunOptions,
} from "../../runs/lifecycle.ts";
import { demandsOf, type OpenedSession, openRunSession } from "../../runs/open-session.ts";
import { removeScratch } from "../../runs/seal-run.ts";
import { TOOL_GATE_IDS } from "../collect-result.ts";
import { type CandidateResult, createValidatorEffect, verdictName } from "./validate-result.ts";

/** An agent that is to do the task. */
export interface Contender {
  readonly agent: string;
  readonly model: string;
}

export interface CompareInput {
  readonly task: string;
  readonly contenders: readonly Contender[];
  readonly validators: readonly string[];
  readonly verify: readonly (readonly string[])[];
  readonly repository: UserRepository;
  readonly base: string;
  readonly policy: CompiledPolicy;
  readonly mode: Mode;
}

/** What an agent's own run came to. */
export interface CandidateEnd {
  readonly run: string;
  /** Null where it came to none. */
  readonly result: (CandidateResult & { readonly bytes: Uint8Array }) | null;
  readonly code: string | null;
}

/** What is told of one contender. */
export interface ComparedResult extends Contender {
  readonly run: string;
  readonly commit: string | null;
  /** Null where there was nothing to vote on. */
  readonly status: ConsensusResult["status"] | null;
  readonly approvals: number;
  readonly findings: readonly string[];
}

/** What a comparison needs of its starter, and what it tells it. */
export interface CompareProgram {
  /** Has one agent do the task, in a run of its own. */
  candidate(index: number): Promise<CandidateEnd>;
  /** What the gates of tools say of an agent's own run. */
  gates(run: string): Promise<readonly GateResult[]>;
  readonly results: ComparedResult[];
  chosen: string | null;
}

const words = z.array(z.string());
const planFormat = z.strictObject({
  kind: z.literal("agent_compare"),
  task_sha256: fields.digest,
  contenders: z.array(z.strictObject({ agent: z.string(), model: z.string() })),
  validators: z.array(fields.name),
  verify: z.array(words),
  /** Gates that have to hold; absent in plans from before validators judged any. */
  gates: z.array(z.string()).exactOptional(),
  base: fields.gitId,
  root: z.string(),
  policy_digest: fields.digest,
});

interface Frozen {
  readonly plan: z.infer<typeof planFormat>;
  readonly policy: CompiledPolicy;
}

type Known = KnownRun<Frozen, Held>;

const POLICY_FILE = "policy.json";

export const ballotOf = (index: number): string => `candidate_${index + 1}`;

/**
 * One task for several agents: each does it apart, in a run of its own; validators judge each result
 * and sign their votes.
 *
 * @param program null where its starter is gone: then there is nothing but the end
 */
export function compareKind(program: CompareProgram | null): RunKind<CompareInput, Frozen, Held> {
  return {
    hold: () => Promise.resolve(NOTHING_HELD),
    holdAgain: () => Promise.resolve(NOTHING_HELD),
    freeze: (_options, input, folder) => {
      const { policy, contenders, validators, verify, base } = input;
      replaceOwnFile(join(folder, POLICY_FILE), canonicalBytes(freezePolicy(policy)));
      const plan = {
        kind: "agent_compare",
        task_sha256: sha256Hex(utf8Encode(input.task)),
        contenders: contenders.map((one) => ({ ...one })),
        validators: [...validators],
        verify: verify.map((argv) => [...argv]),
        gates: [...TOOL_GATE_IDS],
        base,
        root: input.repository.root,
        policy_digest: policy.digest,
      };
      return Promise.resolve({ plan: parseFormat(planFormat, plan, "plan"), policy });
    },
    open: ({ installation }, row) => {
      const plan = parseFormat(planFormat, parseCanonicalJson(row.plan), "plan");
      const path = join(installation.folder.run(row.runId), POLICY_FILE);
      return Promise.resolve({ plan, policy: openFrozenPolicy(requireOwnFile(path), path) });
    },
    work: (options, run) => CompareWork.open(options, run, program),
    cleanUp: ({ installation }, runId) => removeScratch(installation.folder.run(runId)),
  };
}

const GONE = "The comparison was cut short. The results so far wait in the agents' own runs.";

class CompareWork extends KindWork {
  readonly #known: Known;
  readonly #program: CompareProgram | null;
  readonly #options: RunOptions;
  readonly #candidates: Map<string, CandidateResult>;

  private constructor(
    options: RunOptions,
    known: Known,
    opened: OpenedSession,
    rest: { program: CompareProgram | null; candidates: Map<string, CandidateResult> },
  ) {
    super(opened, `sovereign run resume ${known.runId}`);
    this.#options = options;
    this.#known = known;
    this.#program = rest.program;
    this.#candidates = rest.candidates;
  }

  static async open(
    options: RunOptions,
    run: Known,
    program: CompareProgram | null,
  ): Promise<CompareWork> {
    const { runId, mode, row, frozen } = run;
    const { plan, policy } = frozen;
    const { installation } = options;
    const candidates = new Map<string, CandidateResult>();
    const acceptance = acceptanceOf(frozen);
    const electorate = [...plan.validators];
    const opened = await openRunSession(options, {
      runId,
      name: "agent-compare",
      mode,
      policy: new PolicyEngine(policy),
      demands: demandsOf(policy),
      plan: plan,
      config: { mode },
      ballots: Object.fromEntries(
        plan.contenders.map((_, index) => [ballotOf(index), { electorate, acceptance }]),
      ),
      row,
      artifacts: "artifacts",
      effects: (artifacts, sandbox) => ({
        "agent.judge": createValidatorEffect({
          root: plan.root,
          policy,
          sandbox,
          artifacts,
          folder: join(installation.folder.run(runId), "work"),
          acceptance,
          candidate: (ballot) => candidates.get(ballot) ?? null,
          gates: (of) => program?.gates(of) ?? Promise.resolve([]),
          clock: installation.clock,
        }),
      }),
    });
    return new CompareWork(options, run, opened, { program, candidates });
  }

  announce(): void {
    // Each agent's run says that it starts.
  }

  async carryOut(): Promise<Ending> {
    const program = this.#program;
    if (program === null) {
      return { status: "failed", reason: GONE, code: "ERR_CONSENSUS_FAILED", outcome: null };
    }
    const { contenders } = this.#known.frozen.plan;
    let smallest: number | null = null;
    for (const [index, contender] of contenders.entries()) {
      const { signal } = this.#options;
      signal.throwIfAborted();
      const end = await program.candidate(index);
      const judged = await this.#judge(ballotOf(index), end);
      program.results.push({ ...contender, run: end.run, ...judged });
      // Of those that validators accept, the one that changes least; the first of equals.
      const size = end.result?.bytes.length ?? 0;
      const isReached = judged.status === "SOVEREIGN_CONSENSUS_REACHED";
      if (!isReached || (smallest !== null && size >= smallest)) continue;
      smallest = size;
      program.chosen = end.run;
    }
    if (program.chosen !== null) return COMPLETED;
    const reason = "The validators accept none of the results.";
    return { status: "failed", reason, code: "ERR_CONSENSUS_FAILED", outcome: null };
  }

  async #judge(
    ballot: string,
    { run, result, code }: CandidateEnd,
  ): Promise<Pick<ComparedResult, "commit" | "status" | "approvals" | "findings">> {
    if (result === null) {
      const findings = [`it came to no result (${code ?? "nothing changed"})`];
      return { commit: null, status: null, approvals: 0, findings };
    }
    const { artifacts, session } = this.opened;
    const { bytes, ...candidate } = result;
    const patch = await artifacts.put(`${ballot}/result.patch`, bytes, "text/x-patch");
    await session.recordEvidence([patch]);
    this.#candidates.set(ballot, candidate);
    const votes: FoundVote[] = [];
    const findings = new Set<string>();
    for (const role of this.#known.frozen.plan.validators) {
      const vote = await this.#vote(ballot, role, run, patch);
      if (vote === null) continue;
      votes.push(vote);
      for (const finding of vote.findings) findings.add(finding);
    }
    const judged = await this.#count(ballot, votes, patch);
    const { status, approvals } = judged;
    const { commit } = candidate;
    return { commit, status, approvals: approvals.length, findings: [...findings] };
  }

  /** A validator that fails casts no vote, and the run says so. */
  async #vote(
    ballot: string,
    role: string,
    run: string,
    patch: ArtifactRef,
  ): Promise<FoundVote | null> {
    const { session, artifacts } = this.opened;
    const { frozen } = this.#known;
    const acceptance = acceptanceOf(frozen) as unknown as JsonObject;
    const params = judgeParams(frozen, { run, acceptance }, patch, verdictName(ballot, role));
    const action = { type: "agent.judge", resource: role, params };
    try {
      const done = await session.perform({ stepId: `${ballot}.${role}`, role, action });
      const file = done.artifacts.find((one) => one.name === verdictName(ballot, role));
      if (file === undefined) throw new Error("a validator wrote no verdict");
      const { verdict, claims, findings } = parseFormat(
        verdictFormat,
        parseStrictJson(await artifacts.get(file)),
        file.name,
      );
      return { role, verdict, claims, output: file, findings };
    } catch (error) {
      const failed = error instanceof RunStopped && error.outcome.status === "FAILED";
      if (!failed && !isSovereignError(error, "ERR_FORMAT_INVALID")) throw error;
      const reason = cutText(error.message, 500);
      await session.note("agent.abstained", "WARNING", { role, reason });
      return null;
    }
  }

  async #count(
    ballot: string,
    votes: readonly FoundVote[],
    patch: ArtifactRef,
  ): Promise<ConsensusResult> {
    const { session } = this.opened;
    const { plan } = this.#known.frozen;
    const rules = ballotRules({
      acceptance: acceptanceOf(this.#known.frozen),
      inputs: { result: patch.sha256 },
      seed: 0,
    });
    const { clock } = this.#options.installation;
    const cast = await castVotes({ ...this.opened, clock }, ballot, votes);
    const result = judgeVotes(cast, { electorate: plan.validators, ...rules });
    const reached = result.status === "SOVEREIGN_CONSENSUS_REACHED";
    const event = reached ? "consensus.reached" : "consensus.failed";
    await session.note(event, reached ? "INFO" : "WARNING", { ballot, ...result });
    return result;
  }
}

interface FoundVote extends Vote {
  readonly findings: readonly string[];
}

const verdictFormat = z.strictObject({
  role: fields.name,
  verdict: z.enum(["approve", "reject"]),
  claims: fields.jsonObject,
  findings: z.array(z.string().max(500)).max(10_000),
});

function acceptanceOf({ plan }: Frozen): ResultAcceptance {
  const { base, verify, gates } = plan;
  return { kind: "agent_result", base, verify, ...(gates === undefined ? {} : { gates }) };
}

/** A validator is a program of ours: what it does is fixed by its version, and by these. */
const VALIDATOR = { program: "urn:sovereign:validator:agent-result:v1", programs: {} } as const;

function judgeParams(
  { policy }: Frozen,
  params: JsonObject,
  patch: ArtifactRef,
  verdict: string,
): JsonObject {
  const limits = workLimits(policy);
  return {
    program: VALIDATOR.program,
    programs_digest: digestOf(VALIDATOR.programs),
    seed: 0,
    params,
    inputs: { result: { artifact: patch.name, sha256: patch.sha256 } },
    outputs: { "verdict.json": verdict },
    limits: {
      wall_ms: limits.timeoutMs,
      cpu_seconds: limits.cpuSeconds,
      memory_bytes: limits.memoryBytes,
      processes: limits.processes,
      output_bytes: limits.outputBytes,
      file_bytes: limits.fileBytesMax,
    },
  };
}
