import type { Envelope, RunTrace } from "@sovereign/core";
import type {
  EffectRegistry,
  KernelOptions,
  PolicyDecider,
  Recorder,
} from "../../src/kernel/index.ts";
import { StreamWriter } from "../../src/ledger/index.ts";
import {
  isTraced,
  readRunTrace,
  RunRecorder,
  type RunPlan,
  RunSession,
  type StepRow,
} from "../../src/runs/index.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { World } from "./world.ts";

export const INSTALLATION = `ins_${"a".repeat(20)}`;
const RUN = `run_${"a".repeat(20)}`;

/** What a run of a test has of its own; all else is as most runs have it. */
export interface RunParts {
  readonly store: MemoryStore;
  readonly plan?: Partial<RunPlan>;
  /** Who decides; the world's own policy where nobody is named. */
  readonly policy?: PolicyDecider;
  readonly effects?: EffectRegistry;
  /** Where the kernel records: what stands between it and the run's stream, or is in its place. */
  readonly around?: (recorder: RunRecorder) => Recorder;
  readonly kernel?: Partial<KernelOptions>;
  readonly approvals?: ConstructorParameters<typeof RunSession>[0]["approvals"];
  readonly approvers?: readonly string[];
  readonly signal?: AbortSignal;
  /** What earlier processes recorded. */
  readonly steps?: readonly StepRow[];
  /** The run's trace as an earlier version made it. */
  readonly trace?: RunTrace;
  /** The fence of a process that goes on with the run. */
  readonly epoch?: number;
  readonly retryFailed?: boolean;
}

export interface BuiltRun {
  readonly session: RunSession;
  readonly recorder: RunRecorder;
}

/** The people whom the world's policy asks. */
export function approvedBy(
  world: World,
  roles: readonly string[] = ["release_manager", "safety_officer"],
): NonNullable<RunParts["approvals"]> {
  return ({ actionDigest, contextDigest }): Promise<Envelope[]> =>
    Promise.all(
      roles.map((role) => world.authority.issueApproval(role, actionDigest, contextDigest)),
    );
}

/**
 * A run as a process has it that begins it, or goes on with it: real keys, a real authority and a real
 * kernel, over a store in memory.
 */
export async function buildRun(world: World, parts: RunParts): Promise<BuiltRun> {
  const { store, policy, effects } = parts;
  const { keyLog, clock } = world;
  const plan = planOf(world, parts);
  const { runId, tenantId } = plan;
  const head = await store.streamHead(tenantId, runId);
  const recorder = new RunRecorder({
    runId,
    tenantId,
    writer: new StreamWriter(store, tenantId, runId, head),
    clock,
    epoch: head.count === 0 ? null : (parts.epoch ?? 1),
    trace: await traceOf(parts, plan),
  });
  const session = new RunSession({
    plan,
    store,
    recorder,
    kernel: world.kernel({
      recorder: parts.around?.(recorder) ?? recorder,
      ...(policy === undefined ? {} : { policy }),
      ...(effects === undefined ? {} : { effects }),
      ...parts.kernel,
    }),
    authority:
      policy === undefined
        ? world.authority
        : world.authorityFor((action, context) => policy.decide(action, context)),
    keyLog,
    clock,
    approvals: parts.approvals ?? (() => Promise.resolve(null)),
    approvers: parts.approvers,
    signal: parts.signal ?? new AbortController().signal,
    steps: parts.steps ?? [],
    ...(parts.retryFailed === undefined ? {} : { retryFailed: parts.retryFailed }),
  });
  return { session, recorder };
}

function planOf({ policy: own }: World, { plan, policy }: RunParts): RunPlan {
  return {
    runId: RUN,
    tenantId: "acme",
    name: "test",
    mode: "sovereign",
    installationId: INSTALLATION,
    plan: {},
    config: {},
    policyDigest: (policy ?? own).policyDigest,
    ...plan,
  };
}

/** Of what earlier processes recorded, where the plan is one whose steps have rows. */
async function traceOf(
  { store, trace }: RunParts,
  { plan, tenantId, runId }: RunPlan,
): Promise<RunTrace | null> {
  if (trace !== undefined) return trace;
  return isTraced(plan) ? readRunTrace(store, tenantId, runId) : null;
}
