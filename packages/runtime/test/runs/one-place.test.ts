import {
  type Action,
  type ActionContext,
  digestOf,
  GENESIS_HASH,
  type PolicyDecision,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  Effect,
  EffectResult,
  Kernel,
  LedgerRecord,
  Outcome,
  PolicyDecider,
  Recorder,
} from "../../src/kernel/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../../src/ledger/index.ts";
import { RunRecorder, RunStopped, readSteps } from "../../src/runs/index.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { TRAIN, World } from "../support/world.ts";

/** What each kind of run does: all of it by the same law. */
const TYPES = [
  "data.prepare",
  "model.train",
  "agent.judge",
  "model.promote",
  "model.rollback",
  "evidence.export",
  "command.run",
  "file.write",
  "git.commit",
  "git.bring_back",
  "git.rollback",
];
const USAGE = { wall_ms: 1, output_bytes: 0 };
const DONE: EffectResult = { status: "completed", output: {}, artifacts: [], usage: USAGE };
const FAILED: EffectResult = { status: "failed", code: "ERR_PROGRAM_FAILED", reason: "exit 1" };

let world: World;
let store: MemoryStore;
let policy: PolicyDecider;
/** The places at which an effect ran, in order. */
let acted: string[];
/** What was asked of effects about earlier attempts. */
let asked: number;
let recalled: EffectResult | null;
let answer: () => EffectResult | Promise<EffectResult>;

beforeEach(async () => {
  world = await World.create();
  store = new MemoryStore({ keysElsewhere: true });
  policy = { policyDigest: GENESIS_HASH, decide };
  world.authority = world.authorityFor((action, context) => policy.decide(action, context));
  acted = [];
  asked = 0;
  recalled = DONE;
  answer = () => DONE;
});
afterEach(() => {
  world.dispose();
});

function decide(action: Action, { tenant_id, role, mode }: ActionContext): PolicyDecision {
  const allowed = TYPES.includes(action.type);
  return {
    effect: allowed ? "allow" : "deny",
    rules: allowed ? ["all"] : [],
    reasons: [],
    approvals: null,
    policy_digest: GENESIS_HASH,
    request_digest: digestOf({ action, tenant_id, role, mode }),
    observed: false,
  };
}

interface Process {
  readonly recorder: RunRecorder;
  readonly kernel: Kernel;
}

/** A process that opens the run: the first, or one that reads what others did before it. */
async function processOf(takesOver = true): Promise<Process> {
  const head = await store.streamHead("acme", RUN);
  const writer = new StreamWriter(store, "acme", RUN, head);
  const recorder = new RunRecorder({
    runId: RUN,
    tenantId: "acme",
    writer,
    clock: world.clock,
    epoch: head.count === 0 ? null : 1,
  });
  if (takesOver) recorder.takeOver((await readSteps(store, "acme", RUN)).steps);
  const effect: Effect = Object.assign(
    ({ context }: { context: ActionContext }): Promise<EffectResult> => {
      acted.push(`${context.step_id} ${context.attempt}`);
      return Promise.resolve(answer());
    },
    {
      recall: (): Promise<EffectResult | null> => {
        asked += 1;
        return Promise.resolve(recalled);
      },
    },
  );
  const effects = Object.fromEntries(TYPES.map((type) => [type, effect]));
  return { recorder, kernel: world.kernel({ recorder, policy, effects }) };
}

const actionOf = (type: string): Action => ({ type, resource: "r", params: {} });

function contextOf(more: Partial<ActionContext> = {}): ActionContext {
  return world.context({ run_id: RUN, policy_digest: policy.policyDigest, ...more });
}

/** One use, with a permission that nobody used before. */
async function use(
  { kernel }: Process,
  action: Action,
  more: Partial<ActionContext> = {},
): Promise<Outcome> {
  const context = contextOf(more);
  const authorization = await world.permission(action, context);
  return kernel.execute({ action, context, authorization, approvals: [] });
}

async function recorded(): Promise<string[]> {
  const found: string[] = [];
  for await (const { bytes } of store.readStream("acme", RUN)) {
    const entry = JSON.parse(Buffer.from(bytes).toString()) as {
      event_type: string;
      data: { code?: string };
    };
    found.push([entry.event_type, entry.data.code].filter(Boolean).join(" "));
  }
  return found;
}

const REPEATED = { status: "BLOCKED", code: "ERR_STEP_REPEATED" };
const BLOCKED = "execution.blocked ERR_STEP_REPEATED";
const ONCE = ["execution.authorized", "execution.completed"];

describe("a place, which is a step and its attempt", () => {
  it.each(TYPES)("acts once, with however many permissions: %s", async (type) => {
    const one = await processOf();
    expect(await use(one, actionOf(type))).toMatchObject({ status: "COMPLETED" });
    expect(await use(one, actionOf(type))).toMatchObject(REPEATED);
    expect(await use(one, { ...actionOf(type), resource: "other" })).toMatchObject(REPEATED);
    const next = await processOf();
    expect(await use(next, actionOf(type))).toMatchObject(REPEATED);
    expect(acted).toEqual(["step 1"]);
    expect(await recorded()).toEqual([...ONCE, BLOCKED, BLOCKED, BLOCKED]);
  });

  it("acts once in forty uses at the same moment", async () => {
    const one = await processOf();
    const ends = await Promise.all(Array.from({ length: 40 }, () => use(one, TRAIN)));
    expect(ends.filter(({ status }) => status === "COMPLETED")).toHaveLength(1);
    expect(acted).toEqual(["step 1"]);
    const events = await recorded();
    expect(events.filter((event) => event === BLOCKED)).toHaveLength(39);
    expect(events.filter((event) => event === "execution.authorized")).toHaveLength(1);
  });

  it("tells a permission that is used again from a place that is", async () => {
    const one = await processOf();
    const context = contextOf();
    const authorization = await world.permission(TRAIN, context);
    const request = { action: TRAIN, context, authorization, approvals: [] };
    const ends = await Promise.all(Array.from({ length: 4 }, () => one.kernel.execute(request)));
    const codes = ends.map((end) => (end.status === "COMPLETED" ? end.status : end.code)).sort();
    expect(codes).toEqual(["COMPLETED", ...Array<string>(3).fill("ERR_NONCE_REPLAYED")]);
    expect(acted).toEqual(["step 1"]);
  });

  it("acts once for two processes that both opened the run", async () => {
    const [one, two] = [await processOf(), await processOf()];
    expect(await use(one, TRAIN)).toMatchObject({ status: "COMPLETED" });
    expect(await use(two, TRAIN)).toMatchObject({ status: "BLOCKED", code: "ERR_RUN_FENCED" });
    expect(acted).toEqual(["step 1"]);
  });

  it("is not forgotten by a recorder that is told another beginning", async () => {
    const begun = await processOf();
    expect(() => {
      begun.recorder.takeOver([]);
    }).toThrow(TypeError);
    const one = await processOf(false);
    expect(await use(one, TRAIN)).toMatchObject({ status: "COMPLETED" });
    expect(() => {
      one.recorder.takeOver([]);
    }).toThrow(TypeError);
    expect(await use(one, TRAIN)).toMatchObject(REPEATED);
    expect(acted).toEqual(["step 1"]);
  });

  it("is not opened by a process that has not read what others did", async () => {
    await use(await processOf(), TRAIN);
    const blind = await processOf(false);
    expect(await use(blind, TRAIN)).toMatchObject(REPEATED);
    expect(await use(blind, TRAIN, { step_id: "next" })).toMatchObject(REPEATED);
    expect(acted).toEqual(["step 1"]);
  });

  it("has a later attempt where the earlier one ended and did not complete", async () => {
    const one = await processOf();
    answer = () => FAILED;
    recalled = null;
    expect(await use(one, TRAIN)).toMatchObject({ status: "FAILED" });
    expect(await use(one, TRAIN)).toMatchObject(REPEATED);
    answer = () => DONE;
    expect(await use(one, TRAIN, { attempt: 2 })).toMatchObject({ status: "COMPLETED" });
    for (const attempt of [1, 2, 3]) {
      expect(await use(one, TRAIN, { attempt })).toMatchObject(REPEATED);
    }
    expect(acted).toEqual(["step 1", "step 2"]);
  });

  it("has no later attempt while its effect runs", async () => {
    const one = await processOf();
    const { promise, resolve } = Promise.withResolvers<EffectResult>();
    answer = () => promise;
    const first = use(one, TRAIN);
    await expect.poll(() => acted.length).toBe(1);
    expect(await use(one, TRAIN, { attempt: 2 })).toMatchObject(REPEATED);
    resolve(DONE);
    expect(await first).toMatchObject({ status: "COMPLETED" });
    expect(acted).toEqual(["step 1"]);
  });

  it("stays as it is when something is refused at it afterwards", async () => {
    const one = await processOf();
    await use(one, TRAIN);
    const context = contextOf();
    const bare = { context, authorization: null, approvals: [] };
    const denied = await one.kernel.execute({ ...bare, action: actionOf("model.delete") });
    expect(denied).toMatchObject({ status: "DENIED" });
    const unsigned = await one.kernel.execute({ ...bare, action: TRAIN });
    expect(unsigned).toMatchObject({ status: "BLOCKED", code: "ERR_BINDING_MISSING" });
    await use(one, TRAIN, { attempt: 2, role: "nobody" }).catch(() => undefined);
    const { steps } = await readSteps(store, "acme", RUN);
    expect(steps).toMatchObject([{ stepId: "step", status: "completed", attempt: 1 }]);
    expect(store.steps.get("step")).toMatchObject({ status: "completed", attempt: 1 });
    expect(await use(await processOf(), TRAIN)).toMatchObject(REPEATED);
  });

  it("keeps its number where it was refused before it began", async () => {
    const one = await processOf();
    const context = contextOf();
    const request = { action: TRAIN, context, authorization: null, approvals: [] };
    expect(await one.kernel.execute(request)).toMatchObject({ status: "BLOCKED" });
    expect(await use(await processOf(), TRAIN)).toMatchObject({ status: "COMPLETED" });
  });
});

describe("an end", () => {
  const UNAUTHORISED = { status: "BLOCKED", code: "ERR_STEP_UNAUTHORISED" };

  it("is not recalled of what was never authorised, nor asked for", async () => {
    const one = await processOf();
    const recall = { action: TRAIN, context: contextOf() };
    expect(await one.kernel.recall(recall)).toMatchObject(UNAUTHORISED);
    expect(asked).toBe(0);
    expect(await recorded()).toEqual(["execution.blocked ERR_STEP_UNAUTHORISED"]);
  });

  it("is recalled once, of exactly what an earlier process had authorised", async () => {
    const one = await processOf();
    const recorder: Recorder = {
      record: (run, entry) =>
        entry.event === "execution.completed"
          ? Promise.reject(new Error("killed"))
          : one.recorder.record(run, entry),
    };
    const dying = { ...one, kernel: world.kernel({ recorder, policy }) };
    await expect(use(dying, TRAIN)).rejects.toThrow("killed");
    const next = await processOf();
    const context = contextOf();
    for (const other of [
      { action: { ...TRAIN, resource: "other" }, context },
      { action: TRAIN, context: { ...context, attempt: 2 } },
      { action: TRAIN, context: { ...context, step_id: "other" } },
    ]) {
      expect(await next.kernel.recall(other)).toMatchObject(UNAUTHORISED);
    }
    expect(asked).toBe(0);
    const recall = { action: TRAIN, context };
    const ends = await Promise.all([1, 2, 3].map(() => next.kernel.recall(recall)));
    expect(ends.filter((end) => end?.status === "COMPLETED")).toHaveLength(1);
    expect(ends.filter((end) => end?.status === "BLOCKED")).toHaveLength(2);
    expect(await next.kernel.recall(recall)).toMatchObject(UNAUTHORISED);
    const events = await recorded();
    expect(events.filter((event) => event === "execution.completed")).toHaveLength(1);
  });

  it("is not recalled while the effect runs here", async () => {
    const one = await processOf();
    const { promise, resolve } = Promise.withResolvers<EffectResult>();
    answer = () => promise;
    const first = use(one, TRAIN);
    await expect.poll(() => acted.length).toBe(1);
    const recall = { action: TRAIN, context: contextOf() };
    expect(await one.kernel.recall(recall)).toMatchObject(UNAUTHORISED);
    resolve(DONE);
    expect(await first).toMatchObject({ status: "COMPLETED" });
    expect(asked).toBe(0);
  });

  it.each(["execution.completed", "execution.failed", "execution.killed"])(
    "is not written without its authorisation: %s",
    async (event) => {
      const { recorder } = await processOf();
      const place = { step_id: "step", attempt: 1, action_digest: "0".repeat(64) };
      const data = {
        ...place,
        code: "ERR_X",
        reason: "x",
        artifacts: [],
        usage: USAGE,
        output: {},
      };
      const rest = { severity: "INFO", envelopes: [], nonces: [], keyEpoch: null } as const;
      const record: LedgerRecord = { event, data, ...rest };
      const refused = { status: "refused", reason: "unauthorised" };
      expect(await recorder.record(RUN, record)).toMatchObject(refused);
      expect(await recorder.write(record)).toMatchObject(refused);
      expect(await store.streamHead("acme", RUN)).toEqual(EMPTY_STREAM);
    },
  );
});

describe("a run whose step is asked for twice", () => {
  it.each(["train", "promote", "ballot.trainer"])(
    "has evidence that is VALID: %s",
    async (stepId) => {
      let stopped: unknown;
      const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session) => {
        const again = session.perform({ stepId, role: "trainer", action: TRAIN });
        stopped = await again.catch((error: unknown) => error);
      });
      expect(stopped).toBeInstanceOf(RunStopped);
      expect((stopped as RunStopped).outcome).toMatchObject(REPEATED);
      expect(judge(await made.bundle(), made.trustRoot()).verdict).toBe("VALID");
      made.dispose();
    },
  );
});
