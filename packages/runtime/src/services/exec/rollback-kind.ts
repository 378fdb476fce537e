import { existsSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import {
  ACTIONS,
  fields,
  GATE_DOCUMENTS,
  type Mode,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import {
  reopenRepository,
  isSwitchOpen,
  releaseKept,
  type UserRepository,
} from "../../executor/index.ts";
import { makeOwnFolder, replaceOwnFile, requireOwnFile } from "../../system/index.ts";
import { checkTenant, type RunRow } from "../../runs/index.ts";
import { readAttested } from "./recorded-end.ts";
import { type ExecContext, openSession, rollbackEffects } from "./exec-context.ts";
import { attestGates } from "./judge-run.ts";
import {
  type HeldStanding,
  holdStanding,
  openRequest,
  rollbackFolder,
  withStanding,
} from "./repository-state.ts";
import {
  COMPLETED,
  type Ending,
  type Final,
  type Held,
  KindWork,
  type KnownRun,
  type RunKind,
  type RunOptions,
  continueRun,
  submitRun,
} from "../runs/lifecycle.ts";
import { isPublished } from "../runs/seal-run.ts";
import type { RunResult } from "../runs/run-result.ts";

/** The plan of a rollback, as it stands in the run's row. */
const rollbackPlan = z.strictObject({
  kind: z.literal("exec_rollback"),
  of_run: fields.runId,
  ref: z.string().nullable(),
  base: fields.gitId,
  head: fields.gitId,
});
type RollbackPlan = z.infer<typeof rollbackPlan>;

const STEP = "rollback";

interface RollbackInput {
  /** The run that is undone. */
  readonly ofRun: string;
  readonly mode: Mode;
  readonly standing: HeldStanding;
  /** Where that run brought the branch: what came on top of it is nobody's to take away. */
  readonly head: string;
}

/** Where the repository of the run that is undone stands; `move` false ends it where it stands. */
interface Hold extends Held {
  readonly standing: HeldStanding;
  readonly move: boolean;
}

type Known = KnownRun<RollbackPlan, Hold>;

export const ROLLBACK: RunKind<RollbackInput, RollbackPlan, Hold> = {
  // Whoever asks for it holds it already, and has looked whether there is something to undo.
  hold: (_options, _runId, { standing }) =>
    Promise.resolve({ standing, move: true, release: () => undefined }),
  holdAgain: async (options, _runId, plan) => {
    const standing = await holdStanding(options, plan.of_run);
    return {
      standing,
      move: true,
      release: () => {
        standing.release();
      },
    };
  },
  freeze: ({ installation }, { ofRun, head }, path, { standing }) => {
    const folder = rollbackFolder(installation, ofRun);
    rmSync(folder, { recursive: true, force: true });
    makeOwnFolder(folder);
    replaceOwnFile(join(folder, MARK), basename(path));
    const { ref, commit: base } = standing.frozen.plan.repository;
    return Promise.resolve({ kind: "exec_rollback", of_run: ofRun, ref, base, head });
  },
  open: (_options, row) => Promise.resolve(planOf(row)),
  work: async (options, run) => new RollbackWork(options, run, await openRollback(options, run)),
  cleanUp: async (options, _runId, { of_run }) => {
    const { frozen } = await openRequest(options.installation, options.tenantId, of_run);
    const repository = await reopenRepository(frozen.plan.repository.root);
    await letGo(options, repository, of_run);
  },
};

/**
 * Bring a repository back to where an execution began, as a run of its own with its own evidence. A
 * rollback that was killed is gone on with.
 *
 * @throws ERR_ROLLBACK_NOTHING when the run brought nothing back
 * @throws ERR_REPOSITORY_MOVED, ERR_REPOSITORY_DIRTY with nothing changed
 */
export function rollbackRequest(options: RunOptions, ofRun: string): Promise<RunResult> {
  checkTenant(options.tenantId);
  return withStanding(options, ofRun, async (standing) => {
    const left = await findLeft(options, standing);
    if (left !== null) return goOn(options, left, standing);
    const { broughtTo, frozen, place, row } = standing;
    const { root, commit: base } = frozen.plan.repository;
    if (broughtTo === null || broughtTo === base || place === "at base") {
      const text = `There is nothing of run ${ofRun} to roll back: ${root} is ${place}.`;
      throw new SovereignError("ERR_ROLLBACK_NOTHING", text, { runId: ofRun });
    }
    const isTheirs = place === "elsewhere" || standing.ref !== frozen.plan.repository.ref;
    if (isTheirs) throw movedOn(standing, broughtTo);
    const input = { ofRun, mode: row.mode, standing, head: broughtTo };
    return submitRun(ROLLBACK, options, input);
  });
}

/** Somebody's commits came on top, or the branch was moved: only they know what is to go. */
function movedOn({ frozen, head, ref }: HeldStanding, broughtTo: string): SovereignError {
  const { root, ref: moved, commit: base } = frozen.plan.repository;
  const [now, then] = [head, broughtTo].map((commit) => commit.slice(0, 12));
  const [branch, here] = [moved, ref].map((one) => one?.replace(/^refs\/heads\//, "") ?? "HEAD");
  const text =
    `The run brought ${branch} of ${root} to ${then}; ${here} is checked out, at ${now}. Nothing was changed. ` +
    `Move your own commits away and roll back again, or undo the run's by commits on top: ` +
    `git revert ${base.slice(0, 12)}..${then}`;
  return new SovereignError("ERR_REPOSITORY_MOVED", text, { wanted: broughtTo, head });
}

/**
 * Go on with the rollback of an execution that a kill left.
 * @returns null where none was left
 */
export function resumeLeftRollback(options: RunOptions, row: RunRow): Promise<RunResult | null> {
  return withStanding(options, row.runId, async (standing) => {
    const left = await findLeft(options, standing);
    return left === null ? null : goOn(options, left, standing);
  });
}

function goOn(
  options: RunOptions,
  row: RunRow,
  standing: HeldStanding,
  move = true,
): Promise<RunResult> {
  return continueRun(ROLLBACK, options, row, { standing, move, release: () => undefined });
}

/** What became of a rollback that a kill had left open. */
export interface SettledRollback {
  readonly run: string;
  readonly status: "completed" | "failed" | "halted" | "open";
}

/**
 * End what a kill left of a rollback without moving anything: one that had moved the branch is
 * proved and sealed, another is sealed as failed. While the kill switch is tripped it stays open.
 */
export async function settleRollback(
  options: RunOptions,
  standing: HeldStanding,
): Promise<SettledRollback | null> {
  const left = await findLeft(options, standing);
  if (left === null) return null;
  const run = left.runId;
  if (options.installation.scram.status().state !== "ARMED") return { run, status: "open" };
  const { status } = await goOn(options, left, standing, standing.movedBack);
  return { run, status: status === "pending" || status === "queued" ? "open" : status };
}

/** Names the rollback at work, from before its first entry until all of it is done. */
const MARK = "run";

/** A rollback of the run that was admitted and has not ended; of one that has, what is left is done. */
async function findLeft(
  options: RunOptions,
  { repository, row: { runId: ofRun } }: HeldStanding,
): Promise<RunRow | null> {
  const { installation, tenantId } = options;
  const folder = rollbackFolder(installation, ofRun);
  const mark = join(folder, MARK);
  if (!existsSync(mark)) return null;
  const runId = requireOwnFile(mark).toString("utf8");
  const row = await installation.store.findRun(tenantId, runId);
  const ended = row === null || (row.sealed !== null && isPublished(installation, runId));
  if (!ended) return row;
  await letGo(options, repository, ofRun);
  return null;
}

/**
 * What only a rollback at work needs. First the ref: where it stays, by a kill or a stop in between,
 * the folder stays, too, and the rollback is found again by it.
 */
async function letGo(
  options: RunOptions,
  repository: UserRepository,
  ofRun: string,
): Promise<void> {
  const released = await releaseKept(repository, ofRun, ["rolled-back"]);
  if (released) clear(rollbackFolder(options.installation, ofRun));
}

/** Copies of what could not be put back stay where the message says they are. */
function clear(folder: string): void {
  if (!isSwitchOpen(join(folder, "switch"))) rmSync(folder, { recursive: true, force: true });
}

function planOf(row: RunRow): RollbackPlan {
  return parseFormat(rollbackPlan, parseCanonicalJson(row.plan), "plan");
}

function openRollback(options: RunOptions, run: Known): Promise<ExecContext> {
  const { runId, mode, row, frozen: plan } = run;
  const { repository, frozen } = run.hold.standing;
  const folder = rollbackFolder(options.installation, plan.of_run);
  return openSession(options, {
    runId,
    name: "rollback",
    mode,
    policy: frozen.policy,
    plan,
    config: { mode },
    row,
    effects: (artifacts) => rollbackEffects(options.installation, repository, folder, artifacts),
  });
}

class RollbackWork extends KindWork {
  readonly #options: RunOptions;
  readonly #known: Known;
  readonly #context: ExecContext;

  constructor(options: RunOptions, known: Known, context: ExecContext) {
    super(context, `sovereign exec rollback ${known.frozen.of_run}`);
    this.#options = options;
    this.#known = known;
    this.#context = context;
  }

  announce(): void {
    // It is one step, and soon over.
  }

  async carryOut(): Promise<Ending> {
    const { frozen: plan, hold } = this.#known;
    const { session } = this.#context;
    if (!hold.move && !session.isDone(STEP)) return NOT_MOVED;
    const { of_run, ref, base, head } = plan;
    const action = { type: "git.rollback", resource: of_run, params: { of_run, ref, base, head } };
    const { role } = hold.standing.frozen.planned.request;
    const done = await session.perform({ stepId: STEP, role, action });
    const format = ACTIONS["git.rollback"].output;
    const { tree, files_changed: files, kept = [] } = parseFormat(format, done.output, STEP);
    const places = kept.map((one) => one.kept);
    const proved = { event: "rollback.proved", run: of_run, base, tree, files } as const;
    this.#options.onProgress({ ...proved, kept: places });
    return COMPLETED;
  }

  /** One that had moved the branch back is proved, whoever cancels it since. */
  endAs(ending: Ending): Promise<Ending> {
    return this.isPast() ? this.carryOut() : Promise.resolve(ending);
  }

  isPast(): boolean {
    return this.#known.hold.standing.movedBack || this.#context.session.isDone(STEP);
  }

  /** What a rollback that failed has proved about itself; gates judge it like any other. */
  async conclude({ outcome }: Final): Promise<void> {
    if (outcome !== null) await this.#recordProof();
    const { installation, tenantId } = this.#options;
    if (await readAttested(installation, tenantId, this.#context.runId)) return;
    await attestGates(this.#options, this.#context);
  }

  async #recordProof(): Promise<void> {
    const { artifacts, session } = this.#context;
    const name = GATE_DOCUMENTS.rollbackProof;
    const path = artifacts.pathOf({ name });
    if (!existsSync(path)) return;
    const kept = await artifacts.put(name, requireOwnFile(path), "application/json");
    await session.recordEvidence([kept]);
  }
}

const NOT_MOVED: Final = {
  status: "failed",
  reason: "It was killed before it moved the branch.",
  code: null,
  outcome: null,
};
