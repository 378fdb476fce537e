import { join } from "node:path";
import {
  type ArtifactRef,
  type ExecutionResult,
  fields,
  GATE_DOCUMENTS,
  type JsonObject,
  type Mode,
  parseFormat,
  SovereignError,
  type WorkScope,
} from "@sovereign/core";
import {
  ExecutorRun,
  type Head,
  inspectRepository,
  reopenRepository,
  keepCommit,
  type PlannedRequest,
  readHead,
  releaseKept,
  requireRunnable,
  REVIEWER,
  statusDigest,
  switchedTo,
  type UserRepository,
  type Workspace,
  writeEvidence,
} from "../../executor/index.ts";
import type { EgressDoor } from "../../agents/index.ts";
import type { EffectRegistry } from "../../kernel/index.ts";
import { opensHosts, PolicyEngine } from "../../policy/index.ts";
import type { Sandbox } from "../../sandbox/index.ts";
import { timestampOf } from "../../system/index.ts";
import type { ArtifactStore, FailedLog, RunRow } from "../../runs/index.ts";
import {
  type ExecContext,
  executionEffects,
  freezeExec,
  type FrozenExec,
  openFrozenExec,
  openSession,
  openWorkspace,
  type ReadRequest,
} from "./exec-context.ts";
import type { Environment } from "../../home/index.ts";
import { attestSource } from "./attest-source.ts";
import { egressDoor } from "./egress-door.ts";
import { findTools } from "./find-tools.ts";
import { attestGates } from "./judge-run.ts";
import { intentOf, openText, writeIntent } from "./questions.ts";
import { type RecordedEnd, readRecorded } from "./recorded-end.ts";
import { holdOwn, switchFolder } from "./repository-state.ts";
import { resumeLeftRollback } from "./rollback-kind.ts";
import { askedRoles } from "../runs/asked-roles.ts";
import {
  COMPLETED,
  type Ending,
  type Final,
  type Held,
  KindWork,
  type KnownRun,
  type RunKind,
  type RunOptions,
  type RunWork,
  continueRun,
  refuseRetry,
} from "../runs/lifecycle.ts";
import type { RunResult } from "../runs/run-result.ts";
import { isPublished, removeScratch } from "../runs/seal-run.ts";

/** A request to be executed on a repository. */
export interface ExecutionInput {
  readonly read: ReadRequest;
  /** A folder in the user's work tree. */
  readonly repository: string;
  readonly mode: Mode;
  readonly environment: Environment;
}

/** The repository, which nobody else's run may move meanwhile. */
export interface HeldRepository extends Held {
  readonly repository: UserRepository;
  /** What of a move that a kill had left halfway could not be put back. */
  readonly left: SovereignError | null;
}

type Known = KnownRun<FrozenExec, HeldRepository>;

/** What another kind of run that ends in commits does otherwise. */
export interface ExecutionVariant {
  /** The words before the run's id that go on with it. */
  readonly resume: string;
  /** Actions of its own, beside those of executions or in their place. */
  effects(parts: VariantParts): EffectRegistry;
  /** Told once the session is there: actions of one run may ask for others. */
  opened(context: ExecContext): void;
  /** Asked before anything is done: how it ended by somebody's word. */
  ending(hold: HeldRepository): Promise<Ending | null>;
  /** Asked before the commits are brought back: why they wait; null where they do not. */
  waits(): Ending | null;
  /** Told before anything is done, by each process that works on it. */
  begin?(): Promise<void>;
  /** Evidence of its own. @param refs the documents that were written before */
  evidence?(refs: readonly ArtifactRef[]): Promise<readonly ArtifactRef[]>;
  /** Statements about the evidence, before gates judge it. Nothing is signed twice. */
  attest?(): Promise<void>;
}

export interface VariantParts {
  readonly effects: EffectRegistry;
  readonly workspace: Workspace;
  readonly repository: UserRepository;
  readonly base: Head;
  readonly sandbox: Sandbox;
  readonly folder: string;
  readonly artifacts: ArtifactStore;
  /** Told of what an agent that did not end well printed: it is evidence, too. */
  readonly onTranscript: (ref: ArtifactRef) => void;
  /** The way to the hosts that policy names; null where it names none. */
  readonly egress: EgressDoor | null;
}

const AS_IT_IS: ExecutionVariant = {
  resume: "sovereign exec resume",
  effects: ({ effects }) => effects,
  opened: () => undefined,
  ending: () => Promise.resolve(null),
  waits: () => null,
};

export const EXECUTION: RunKind<ExecutionInput, FrozenExec, HeldRepository> = {
  hold: (options, runId, { repository }) => hold(options, runId, repository),
  holdAgain: (options, runId, { plan }) => hold(options, runId, plan.repository.root, true),
  freeze: async ({ installation }, { read, environment }, folder, { repository }) => {
    const head = await readHead(repository);
    const dataFolder = installation.folder.root;
    const toolset = await findTools(read.policy, repository, head, { environment, dataFolder });
    const frozen = await freezeExec(folder, read, repository, head, toolset);
    requireRunnable(frozen.planned);
    return frozen;
  },
  open: ({ installation }, row) => openFrozenExec(installation.folder.run(row.runId), row),
  asks: ({ planned, policy }) => [
    ...askedRoles(policy),
    ...(planned.request.requires_review ? [REVIEWER] : []),
  ],
  work: (options, run) => openWork(options, run, AS_IT_IS),
  // What the steps worked in is in the patches; a tree that hostile code wrote is not kept.
  cleanUp: async ({ installation }, runId, { plan }) => {
    await removeScratch(installation.folder.run(runId));
    await releaseKept(await reopenRepository(plan.repository.root), runId);
  },
};

async function hold(
  options: RunOptions,
  runId: string,
  folder: string,
  again = false,
): Promise<HeldRepository> {
  const repository = await (again ? reopenRepository(folder) : inspectRepository(folder));
  return holdOwn(options, repository, runId);
}

/**
 * Go on with an execution; of one that has ended, with its rollback that a kill left.
 * @throws ERR_RUN_SEALED where nothing is left to be done
 */
export async function resumeExecution(options: RunOptions, row: RunRow): Promise<RunResult> {
  if (row.sealed === null || !isPublished(options.installation, row.runId)) {
    return continueRun(EXECUTION, options, row);
  }
  refuseRetry(options, row);
  const rolledBack = await resumeLeftRollback(options, row);
  if (rolledBack !== null) return rolledBack;
  throw new SovereignError("ERR_RUN_SEALED", `Run ${row.runId} has ended: ${row.status}.`);
}

/** Work on a run that ends in commits. */
export async function openWork(
  options: RunOptions,
  run: Known,
  variant: ExecutionVariant,
): Promise<RunWork> {
  const { installation } = options;
  const { planned, policy, plan } = run.frozen;
  const { repository } = run.hold;
  const { ref, commit, tree } = plan.repository;
  const { toolset = null } = plan;
  const base: Head = { ref, commit, tree };
  const folder = installation.folder.run(run.runId);
  const scope = scopeOf(planned);
  const workspace = await openWorkspace(folder, repository, base, policy, scope);
  const failedLogs: Pick<FailedLog, "ref">[] = [];
  const onFailedLog = (log: FailedLog): void => {
    failedLogs.push(log);
    const { step, ref, lines } = log;
    const place = { log: join(folder, ref.name), bytes: ref.bytes };
    options.onProgress({ event: "command.failed", step, ...place, lines });
  };
  let opened: ExecContext | null = null;
  const egress = opensHosts(policy)
    ? egressDoor({
        installation,
        policy: new PolicyEngine(policy),
        opened: () => {
          if (opened === null) throw new Error("the session is not open");
          return opened;
        },
      })
    : null;
  const context = await openSession(options, {
    runId: run.runId,
    mode: run.mode,
    row: run.row,
    name: plan.exec_request_id,
    policy,
    scope,
    plan: plan as JsonObject,
    config: {
      requires_review: planned.request.requires_review,
      mode: run.mode,
      ...(toolset === null ? {} : { toolset }),
    },
    effects: (artifacts, sandbox) => {
      const parts = { workspace, repository, base, folder, sandbox, egress, artifacts };
      const more = { planned, toolset, onFailedLog };
      return variant.effects({
        ...parts,
        onTranscript: (ref) => failedLogs.push({ ref }),
        effects: executionEffects(installation, { ...parts, ...more }),
      });
    },
  });
  opened = context;
  variant.opened(context);
  return new ExecutionWork(options, run, { context, workspace, base, failedLogs, variant });
}

/** Where the request itself says that files may be changed; null where it says nothing. */
function scopeOf({ steps }: PlannedRequest): WorkScope | null {
  const scopes = steps.flatMap(({ operations }) =>
    operations.flatMap(({ action: { type, params } }) =>
      type === "agent.run" ? (params["scope"] ?? []) : [],
    ),
  );
  const [first] = scopes;
  return first === undefined ? null : parseFormat(fields.workScope, first, "scope");
}

/** What an execution works with. */
interface WorkParts {
  readonly context: ExecContext;
  readonly workspace: Workspace;
  readonly base: Head;
  /** What the commands said that did not end well: evidence, too. */
  readonly failedLogs: readonly Pick<FailedLog, "ref">[];
  readonly variant: ExecutionVariant;
}

const BRING_BACK = "bring_back";

class ExecutionWork extends KindWork {
  readonly #options: RunOptions;
  readonly #known: Known;
  readonly #context: ExecContext;
  readonly #workspace: Workspace;
  readonly #base: Head;
  readonly #failedLogs: readonly Pick<FailedLog, "ref">[];
  readonly #run: ExecutorRun;
  readonly #variant: ExecutionVariant;
  readonly #startedAt: string;
  #recorded: RecordedEnd | null = null;
  #statusBefore: string | null = null;

  constructor(options: RunOptions, known: Known, parts: WorkParts) {
    const { context, workspace, base, failedLogs, variant } = parts;
    super(context, `${variant.resume} ${known.runId}`);
    this.#variant = variant;
    this.#options = options;
    this.#known = known;
    this.#context = context;
    this.#workspace = workspace;
    this.#base = base;
    this.#failedLogs = failedLogs;
    this.#startedAt = known.row?.createdAt ?? timestampOf(options.installation.clock);
    this.#run = new ExecutorRun({
      session: context.session,
      planned: known.frozen.planned,
      base,
      tape: context.tape,
      onProgress: options.onProgress,
      waits: () => this.#waits() !== null,
    });
  }

  announce(): void {
    const { runId, row, frozen, hold } = this.#known;
    if (row !== null) return;
    const { tape } = this.#context;
    const { plan, planned, policy } = frozen;
    tape.add("run_start", null, { request: plan.exec_request_id, root: hold.repository.root });
    tape.add("spec_frozen", null, { request: plan.request_digest, policy: policy.digest });
    this.#options.onProgress({ event: "exec.started", run: runId, steps: planned.steps.length });
  }

  /** Nothing of recorded evidence may be written again, for the ledger names its digests. */
  async recorded(): Promise<Ending | null> {
    const { row, runId } = this.#known;
    if (row === null) return null;
    const { installation, tenantId } = this.#options;
    this.#recorded = await readRecorded(installation, tenantId, runId);
    if (this.#recorded === null) return null;
    const { status, code, reason } = this.#recorded;
    return { status: status === "success" ? "completed" : "failed", code, reason, outcome: null };
  }

  async carryOut(): Promise<Ending> {
    await this.#variant.begin?.();
    const ending = await this.#variant.ending(this.#known.hold);
    // What waits for the branch to be where it was has brought it elsewhere itself.
    const isOver = ending?.status === "pending" && this.isPast();
    if (ending !== null && !isOver) return this.endAs(ending);
    return (await this.#gateIntent()) ?? this.#work();
  }

  async endAs(ending: Ending): Promise<Ending> {
    const { session } = this.#context;
    await session.recallOpen();
    if (session.isDone(BRING_BACK)) return this.#work();
    const { left } = this.#known.hold;
    return left === null ? ending : { ...ending, reason: `${ending.reason}. ${left.message}` };
  }

  /** True where the ledger says that the commits are on the branch, or the journal of the move. */
  isPast(): boolean {
    const folder = switchFolder(this.#options.installation, this.#known.runId);
    return this.#context.session.isDone(BRING_BACK) || switchedTo(folder) !== null;
  }

  /** What is on the branch waits for nobody's word. */
  #waits(): Ending | null {
    return this.isPast() ? null : this.#variant.waits();
  }

  async #work(): Promise<Ending> {
    const { tape, folder, runId } = this.#context;
    const { repository } = this.#known.hold;
    const { commit, ref } = this.#base;
    // Whatever the user's git cleans away meanwhile: the work rests on it.
    await keepCommit(repository, runId, "base", commit);
    tape.add("repo_locked", null, { root: repository.root });
    tape.add("worktree_created", null, { base: commit });
    const statusBefore = await statusDigest(this.#workspace.git, repository, commit, folder);
    tape.add("rollback_point", null, { head: commit, ref, status: statusBefore });
    this.#statusBefore = statusBefore;
    await this.#run.run();
    const waits = this.#run.done.steps.length > 0 ? this.#waits() : null;
    return waits ?? COMPLETED;
  }

  /** Open blocking questions stop the request before anything of it runs. */
  async #gateIntent(): Promise<Ending | null> {
    const { tape } = this.#context;
    const { frozen } = this.#known;
    const intent = intentOf(this.#context, frozen);
    await writeIntent(this.#context, frozen, intent);
    const applied = tape.events().some((one) => one.event === "resume_applied");
    if (intent.status === "RESUMED" && !applied) {
      tape.add("resume_applied", null, { answers: GATE_DOCUMENTS.answers });
    }
    if (intent.status !== "BLOCKED") return null;
    const open = intent.open_questions;
    const reason = openText(frozen.planned.request.question_pack, open);
    tape.add("blocked", null, { questions: open });
    return { status: "pending", reason, code: "ERR_REQUEST_BLOCKED", outcome: null };
  }

  /** Write and record the evidence, and have every gate judge it. */
  async conclude(ending: Final): Promise<void> {
    if (this.#recorded === null) this.#recorded = await this.#recordEvidence(ending);
    if (!this.#recorded.attested) {
      await this.#variant.attest?.();
      await attestGates(this.#options, this.#context);
    }
    await attestSource(this.#options, this.#context);
  }

  isConcluded(): boolean {
    return this.#recorded !== null;
  }

  async #recordEvidence({ status, code, reason, outcome }: Final): Promise<RecordedEnd> {
    const { frozen } = this.#known;
    const { session, artifacts, tape, runId } = this.#context;
    const failed = outcome?.status === "DENIED" ? "denied" : "failed";
    const end: Pick<ExecutionResult, "status" | "code" | "reason"> = {
      status: status === "completed" ? "success" : failed,
      code,
      reason,
    };
    const intent = await writeIntent(this.#context, frozen, intentOf(this.#context, frozen));
    const refs = await writeEvidence({
      runId,
      mode: session.plan.mode,
      planned: frozen.planned,
      policyDigest: frozen.policy.digest,
      limits: this.#workspace.limits,
      toolset: frozen.plan.toolset ?? null,
      base: this.#base,
      done: this.#run.done,
      git: this.#workspace.git,
      worktree: this.#workspace.root,
      artifacts,
      tape,
      clock: this.#options.installation.clock,
      startedAt: this.#startedAt,
      before: [frozen.request, ...intent, ...this.#failedLogs.map((one) => one.ref)],
      end,
      found: await this.#lookAgain(),
    });
    const more = (await this.#variant.evidence?.(refs)) ?? [];
    await session.recordEvidence([...refs, ...more]);
    return { ...end, attested: false };
  }

  /** What really stands in the user's repository, whatever the effects said. */
  async #lookAgain(): Promise<{ head: string; status: string; statusBefore: string }> {
    const { repository } = this.#known.hold;
    const { commit: head } = await readHead(repository);
    const { git } = this.#workspace;
    const status = await statusDigest(git, repository, head, this.#context.folder);
    const { broughtBack } = this.#run.done;
    const statusBefore = broughtBack?.status_before ?? this.#statusBefore ?? status;
    return { head, status, statusBefore };
  }
}
