import { type Action, digestOf, type Envelope, formats, SovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  EffectResult,
  ExecuteRequest,
  KernelOptions,
  Outcome,
  PolicyDecider,
} from "../../src/kernel/index.ts";
import { PROMOTE, TRAIN, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

const last = () => world.recorder.records.at(-1);
const lastReason = (): string => {
  const reason = last()?.data["reason"];
  if (typeof reason !== "string") throw new Error("no reason was recorded");
  return reason;
};

async function requestFor(action: Action = TRAIN): Promise<ExecuteRequest> {
  const context = world.context();
  const authorization = await world.permission(action, context);
  return { action, context, authorization, approvals: [] };
}

async function run(options: Partial<KernelOptions>, action: Action = TRAIN): Promise<Outcome> {
  return world.kernel(options).execute(await requestFor(action));
}

/** A request whose property answers `first` once, and `then` ever after. */
function changing(
  request: ExecuteRequest,
  key: keyof ExecuteRequest,
  first: unknown,
  then: unknown,
): ExecuteRequest {
  let reads = 0;
  const copy = { ...request };
  Object.defineProperty(copy, key, { get: () => (reads++ === 0 ? first : then), enumerable: true });
  return copy;
}

describe("what a caller holds", () => {
  const DENIED: Action = { ...TRAIN, type: "model.delete" };

  it("is not the decision that is used the next time", async () => {
    const request = {
      action: DENIED,
      context: world.context(),
      authorization: null,
      approvals: [],
    };
    const kernel = world.kernel({ allowCompatible: true });
    const outcome = await kernel.execute(request);
    if (outcome.status !== "DENIED") throw new Error(outcome.status);
    expect(() => Object.assign(outcome.decision, { effect: "allow" })).toThrow(TypeError);
    const context = world.context({ mode: "compatible" });
    expect(await kernel.execute({ ...request, context })).toMatchObject({ status: "DENIED" });
    expect(world.effects).toBe(0);
  });

  it("is not what the policy engine answers from, either", () => {
    const decision = world.policy.decide(DENIED, world.context());
    expect(() => Object.assign(decision, { effect: "allow" })).toThrow(TypeError);
    expect(
      () => decision.rules.concat().push("x") && Object.assign(decision.rules, ["x"]),
    ).toThrow();
    const { rules, patterns } = world.policy.policy;
    expect(Object.isFrozen(rules) && Object.isFrozen(patterns)).toBe(true);
    expect(world.policy.decide(DENIED, world.context()).effect).toBe("deny");
  });

  it("is read once: another action, context or permission cannot be slipped in", async () => {
    const request = await requestFor();
    const other = { ...TRAIN, params: { trees: 900 } };
    let seen: unknown = null;
    const effect = ({ action }: { action: Action }): Promise<EffectResult> => {
      seen = action;
      return Promise.resolve(world.result as EffectResult);
    };
    const kernel = world.kernel({ effects: { "model.train": effect } });
    await kernel.execute(changing(request, "action", TRAIN, other));
    expect(seen).toEqual(TRAIN);
    expect(world.recorder.records[0]?.data["action_digest"]).toBe(digestOf(TRAIN));

    const again = await requestFor();
    const forged = { role: again.authorization?.role, binding: again.authorization?.role };
    const outcome = await kernel.execute(
      changing(again, "authorization", again.authorization, forged),
    );
    expect(outcome).toMatchObject({ status: "COMPLETED" });
    const intent = world.recorder.records.at(-2);
    expect(intent?.data["envelopes"]).toMatchObject({
      binding: digestOf(again.authorization?.binding as Envelope),
    });
    expect(intent?.envelopes.map((one) => digestOf(one))).toContain(
      digestOf(again.authorization?.binding as Envelope),
    );
  });

  it("does not reach the effect or the record when it is changed in between", async () => {
    const action = { ...TRAIN, params: { trees: 3 as number } };
    const request = await requestFor(action);
    let seen: unknown = null;
    const effect = (invocation: { action: Action }): Promise<EffectResult> => {
      seen = invocation.action.params["trees"];
      return Promise.resolve(world.result as EffectResult);
    };
    const pending = world.kernel({ effects: { "model.train": effect } }).execute(request);
    action.params.trees = 900;
    await pending;
    expect(seen).toBe(3);
  });

  it("cannot take approvals away between the judgement and its repeat", async () => {
    const context = world.context({ role: "deployer" });
    const approvals = [
      await world.approve("release_manager", PROMOTE, context),
      await world.approve("safety_officer", PROMOTE, context),
    ];
    const authorization = await world.permission(PROMOTE, context);
    let refreshed = 0;
    const kernel = world.kernel({
      keys: {
        current: () => world.keyLog.current(),
        refresh: () => {
          refreshed += 1;
          approvals.length = 0;
          return world.keyLog.refresh();
        },
      },
    });
    // Another process enrols a key in between, so that everything is judged twice.
    world.recorder.staleOnce = true;
    const outcome = await kernel.execute({ action: PROMOTE, context, authorization, approvals });
    expect(refreshed).toBe(1);
    expect(outcome).toMatchObject({ status: "COMPLETED" });
    const names = Object.keys(world.recorder.records.at(-2)?.data["envelopes"] as object);
    expect(names).toEqual(["role", "binding", "approval_1", "approval_2"]);
  });

  it("asks for as many approvals at the repeat as at first", async () => {
    const context = world.context({ role: "deployer" });
    const approvals = [
      await world.approve("release_manager", PROMOTE, context),
      await world.approve("safety_officer", PROMOTE, context),
    ];
    const authorization = await world.permission(PROMOTE, context);
    const kernel = world.kernel({
      keys: {
        current: () => world.keyLog.current(),
        refresh: async () => {
          const keyId = world.keyIdOf("approval", "safety_officer");
          await world.keyLog.revoke(world.keystore, keyId, "lost", false);
          return world.keyLog.refresh();
        },
      },
    });
    world.recorder.staleOnce = true;
    const outcome = await kernel.execute({ action: PROMOTE, context, authorization, approvals });
    expect(outcome).toMatchObject({ status: "PENDING", approvedBy: ["release_manager"] });
    expect(world.effects).toBe(0);
  });

  it("enrols no key in the table of keys that it was handed", () => {
    const table = world.keyLog.current();
    const [window] = table.windows;
    if (window === undefined) throw new Error("no key");
    const { record } = window;
    const event = {
      installation_id: `ins_${"a".repeat(20)}`,
      sequence: table.count,
      event: "introduced" as const,
      key: record,
      replaces: null,
      reason: null,
      distrust_all: false,
      issued_at: world.clock.now().toISOString(),
    };
    expect(() => {
      table.apply(event);
    }).toThrow(/only read/);
    expect(world.keyLog.current().count).toBe(table.count);
  });

  it("does not change what the kernel was made with", async () => {
    const context = world.context({ mode: "compatible" });
    const options = { allowCompatible: false };
    const effects: Record<string, () => Promise<EffectResult>> = {};
    const kernel = world.kernel({ ...options, effects });
    options.allowCompatible = true;
    effects["model.train"] = () => Promise.resolve(world.result as EffectResult);
    const request = { action: TRAIN, context, authorization: null, approvals: [] };
    expect(await kernel.execute(request)).toMatchObject({ code: "ERR_ACTION_UNKNOWN" });
  });
});

describe("a request that is made to break the kernel", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  let deep: unknown = {};
  for (let depth = 0; depth < 100; depth++) deep = { deep };
  const throwing = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error("no");
      },
    },
  );
  const rubbish: [string, unknown][] = [
    ["nothing", undefined],
    ["a function", () => TRAIN],
    ["a cycle", { ...TRAIN, params: cyclic }],
    ["what is too deep", { ...TRAIN, params: { deep } }],
    ["a proxy that throws", throwing],
    ["half a character", { ...TRAIN, resource: "\ud83d" }],
    ["a date", { ...TRAIN, params: { at: new Date(0) } }],
    ["too many values", { ...TRAIN, params: { many: Array.from({ length: 200_000 }, () => 1) } }],
  ];
  it.each(rubbish)("has a recorded refusal: %s", async (_name, action) => {
    const request = { ...(await requestFor()), action: action as Action };
    const outcome = await world.kernel().execute(request);
    expect(outcome).toMatchObject({ status: "BLOCKED" });
    expect(world.effects).toBe(0);
    expect(last()?.event).toBe("execution.blocked");
    expect(outcome.entryIndex).toBe(0);
  });

  it.each([
    ["a number", 7],
    ["half a permission", { role: null }],
    ["an envelope with a field too many", { role: {}, binding: { extra: 1 } }],
  ])("is refused with what is no permission: %s", async (_name, authorization) => {
    const request = { ...(await requestFor()), authorization } as unknown as ExecuteRequest;
    const outcome = await world.kernel().execute(request);
    expect(outcome).toMatchObject({ status: "BLOCKED", code: "ERR_AUTHORITY_MALFORMED" });
    expect(last()).toMatchObject({ event: "execution.blocked" });
  });

  it.each([
    ["a number", 7],
    ["a list of numbers", [7]],
    ["null", null],
  ])("waits for approvals with what is none: %s", async (_name, approvals) => {
    const context = world.context({ role: "deployer" });
    const authorization = await world.permission(PROMOTE, context);
    const request = { action: PROMOTE, context, authorization, approvals };
    const outcome = await world.kernel().execute(request as unknown as ExecuteRequest);
    expect(outcome).toMatchObject({
      status: "PENDING",
      leftOut: [{ approval: 1, code: "ERR_AUTHORITY_MALFORMED" }],
    });
  });

  it("is refused with more approvals than anybody could need, and with what is no signal", async () => {
    const request = await requestFor();
    const many = Array.from({ length: 1000 }, () => request.authorization?.role as Envelope);
    const flood = await world.kernel().execute({ ...request, approvals: many });
    expect(flood).toMatchObject({ status: "BLOCKED", code: "ERR_FORMAT_INVALID" });
    const signal = { aborted: false } as unknown as AbortSignal;
    const fake = await world.kernel().execute({ ...request, signal });
    expect(fake).toMatchObject({ status: "BLOCKED", code: "ERR_FORMAT_INVALID" });
  });

  it("has its entry, whatever characters it is made of", async () => {
    const resource = `${"a".repeat(199)}\u{1f600}${"b".repeat(300)}`;
    const denied = { type: "model.delete", resource, params: {} };
    const outcome = await world.kernel().execute({
      action: denied,
      context: world.context(),
      authorization: null,
      approvals: [],
    });
    expect(outcome).toMatchObject({ status: "DENIED", entryIndex: 0 });
    expect(formats.policyDecision.parse(last()?.data["decision"]).reasons[0]?.isWellFormed()).toBe(
      true,
    );
    for (const length of [1998, 1999, 2000, 2001]) {
      world.result = {
        status: "failed",
        code: "ERR_PROGRAM_FAILED",
        reason: `${"x".repeat(length)}\u{1f600}`,
      };
      const failed = await run({});
      expect(failed).toMatchObject({ status: "FAILED", code: "ERR_PROGRAM_FAILED" });
      expect(lastReason().isWellFormed()).toBe(true);
    }
    world.result = { status: "killed", code: "ERR_PROGRAM_KILLED", reason: "\udc00 half" };
    expect(await run({})).toMatchObject({ status: "KILLED", code: "ERR_PROGRAM_KILLED" });
  });
});

describe("a decider's answer", () => {
  const good = () => world.policy.decide(TRAIN, world.context());
  const answers: [string, (decision: object) => unknown][] = [
    ["Deny, with a capital letter", (decision) => ({ ...decision, effect: "Deny" })],
    ["step_up without approvals", (decision) => ({ ...decision, effect: "step_up" })],
    [
      "step_up for more people than there are",
      (decision) => ({
        ...decision,
        effect: "step_up",
        approvals: { required: 2, roles: ["a", "a"] },
      }),
    ],
    [
      "step_up for more people than names that are read apart",
      (decision) => ({
        ...decision,
        effect: "step_up",
        approvals: { required: 2, roles: ["alice", "a1ice"] },
      }),
    ],
    [
      "allow with approvals",
      (decision) => ({ ...decision, approvals: { required: 1, roles: ["a"] } }),
    ],
    ["an effect without a rule", (decision) => ({ ...decision, rules: [] })],
    ["one on another request", (decision) => ({ ...decision, request_digest: "0".repeat(64) })],
    ["an observed denial", (decision) => ({ ...decision, effect: "deny", observed: true })],
    ["nothing", () => undefined],
    ["true", () => true],
    ["a promise", (decision) => Promise.resolve(decision)],
    ["another policy's", (decision) => ({ ...decision, policy_digest: "0".repeat(64) })],
    [
      "a huge one",
      (decision) => ({
        ...decision,
        reasons: Array.from({ length: 100 }, () => "\u4e00".repeat(500)),
      }),
    ],
  ];
  it.each(answers)("is a recorded denial when it is unknown: %s", async (_name, answer) => {
    const policy: PolicyDecider = {
      policyDigest: world.policy.policyDigest,
      decide: () => answer(good()) as never,
    };
    for (const mode of ["sovereign", "compatible"] as const) {
      const context = world.context({ mode });
      const authorization = await world.permission(TRAIN, context);
      const kernel = world.kernel({ policy, allowCompatible: true });
      const outcome = await kernel.execute({
        action: TRAIN,
        context,
        authorization,
        approvals: [],
      });
      expect(outcome).toMatchObject({ status: "DENIED", code: "ERR_DECISION_INVALID" });
    }
    expect(world.effects).toBe(0);
    expect(world.recorder.events).toEqual(["execution.denied", "execution.denied"]);
  });

  it("is a recorded denial when the decider throws", async () => {
    const policy: PolicyDecider = {
      policyDigest: world.policy.policyDigest,
      decide: () => {
        throw new RangeError("unreachable \ud83d");
      },
    };
    expect(await run({ policy })).toMatchObject({ status: "DENIED", code: "ERR_DECISION_INVALID" });
    expect(last()).toMatchObject({ event: "execution.denied" });
  });
});

describe("a kill switch's answer", () => {
  it.each([
    ["yes", "yes"],
    ["nothing", undefined],
    ["an object without a word", {}],
    ["armed: 1", { armed: 1 }],
  ])("stops when it is not the plain word: %s", async (_name, answer) => {
    const outcome = await run({ scram: { preflight: () => answer as never } });
    expect(outcome).toMatchObject({ status: "SCRAM_ABORT" });
    expect(last()).toMatchObject({ event: "execution.aborted" });
  });
});

describe("an effect's answer", () => {
  const usage = { wall_ms: 1, output_bytes: 0 };
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  const artifact = (at: number) => ({
    name: `${"n".repeat(150)}${at}`,
    sha256: "0".repeat(64),
    bytes: 1,
    media_type: "x",
  });
  const rubbish: [string, unknown][] = [
    ["nothing", undefined],
    ["null", null],
    ["a string", "done"],
    ["an unknown status", { status: "Completed" }],
    [
      "an output that is undefined",
      { status: "completed", output: undefined, artifacts: [], usage },
    ],
    ["a cycle", { status: "completed", output: cyclic, artifacts: [], usage }],
    ["not a number", { status: "completed", output: Number.NaN, artifacts: [], usage }],
    ["no artifacts", { status: "completed", output: null, usage }],
    [
      "half milliseconds",
      {
        status: "completed",
        output: null,
        artifacts: [],
        usage: { wall_ms: 0.5, output_bytes: 0 },
      },
    ],
    [
      "too many artifacts",
      {
        status: "completed",
        output: null,
        artifacts: Array.from({ length: 400 }, (_, at) => artifact(at)),
        usage,
      },
    ],
  ];
  it.each(rubbish)("is a recorded failure when it is no result: %s", async (_name, result) => {
    const effect = () => Promise.resolve(result as EffectResult);
    const outcome = await run({ effects: { "model.train": effect } });
    expect(outcome).toMatchObject({ status: "FAILED", code: "ERR_EFFECT_RESULT" });
    expect(world.recorder.events).toEqual(["execution.authorized", "execution.failed"]);
  });

  it("keeps its end when its code is none of ours", async () => {
    world.result = { status: "failed", code: "ERR_INVENTED" as never, reason: 7 as never };
    expect(await run({})).toMatchObject({ status: "FAILED", code: "ERR_EFFECT_FAILED" });
    const error = new SovereignError("ERR_INVENTED" as never, "x");
    world.result = error;
    expect(await run({})).toMatchObject({ status: "FAILED", code: "ERR_EFFECT_FAILED" });
  });

  it("cannot be changed after it was recorded", async () => {
    const output = { done: [1] };
    world.result = { status: "completed", output, artifacts: [], usage };
    const outcome = await run({});
    output.done.push(2);
    expect(outcome).toMatchObject({ output: { done: [1] } });
    expect(last()?.data["output"]).toEqual({ done: [1] });
    expect(Object.isFrozen(outcome)).toBe(true);
  });
});

describe("whoever measures", () => {
  it("cannot keep an end from being recorded", async () => {
    const onStage = (): void => {
      throw new Error("a meter that fails");
    };
    expect(await run({ onStage })).toMatchObject({ status: "COMPLETED" });
    expect(world.recorder.events).toEqual(["execution.authorized", "execution.completed"]);
  });
});

describe("refusals that could not be recorded at once", () => {
  it("are each written once, however many write at that moment", async () => {
    const kernel = world.kernel();
    world.armed = false;
    world.recorder.failOn = ["execution.aborted", "execution.aborted"];
    await kernel.execute(await requestFor());
    await kernel.execute(await requestFor());
    const request = await requestFor();
    await Promise.all([1, 2, 3, 4].map(() => kernel.execute(request)));
    expect(world.recorder.events).toHaveLength(6);
  });

  it("stand in a plain form where the ledger takes no other", async () => {
    world.armed = false;
    world.recorder.invalidOnce = true;
    const outcome = await run({});
    expect(outcome).toMatchObject({ status: "SCRAM_ABORT", entryIndex: 0 });
    expect(lastReason()).toContain("not recordable as it was");
  });

  it("keep an effect from running where its intent can be no entry", async () => {
    world.recorder.invalidOnce = true;
    expect(await run({})).toMatchObject({ status: "BLOCKED", code: "ERR_RECORD_REFUSED" });
    expect(world.effects).toBe(0);
  });
});
