import { digestOf } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Effect, EffectResult, KernelOptions } from "../../src/kernel/index.ts";
import { harm } from "../support/harm.ts";
import {
  fail,
  hostileErrors,
  OwnBytes,
  OwnDate,
  rejecting,
  Subclass,
  withProto,
} from "../support/hostile-values.ts";
import { done, requestFor, witness } from "../support/kernel-law.ts";
import { unhandledRejections } from "../support/unhandled-rejections.ts";
import { TRAIN, World } from "../support/world.ts";

let world: World;
const { seen, effect, effects } = witness();
const unhandled = unhandledRejections();
beforeEach(async () => {
  world = await World.create();
  seen.length = 0;
});
afterEach(() => {
  world.dispose();
});

describe("what the kernel hands to those it calls", () => {
  const harming: [string, () => Partial<KernelOptions>][] = [
    [
      "an effect",
      () => ({
        effects: {
          "model.train": (invocation) => {
            const action = structuredClone(invocation.action);
            harm(invocation);
            return effect({ ...invocation, action });
          },
        },
      }),
    ],
    [
      "a decider",
      () => ({
        policy: {
          policyDigest: world.policy.policyDigest,
          decide: (action, context) => {
            harm(action);
            harm(context);
            const decision = structuredClone(world.policy.decide(action, context));
            setImmediate(() => {
              harm(decision);
            });
            return decision;
          },
        },
      }),
    ],
    [
      "the kill switch",
      () => ({
        scram: {
          preflight: (owner) => {
            harm(owner);
            return { armed: true };
          },
        },
      }),
    ],
    [
      "a recorder",
      () => ({
        recorder: {
          record: async (run, record) => {
            harm(record);
            const verdict = await world.recorder.record(run, record);
            harm(record);
            return verdict;
          },
        },
      }),
    ],
    [
      "whoever measures",
      () => ({
        onStage: (...told) => {
          harm(told);
        },
      }),
    ],
  ];
  it.each(harming)("can be changed by none of them: %s", async (_name, options) => {
    const outcome = await world
      .kernel({ effects, ...options() })
      .execute(await requestFor(world, TRAIN));
    expect(outcome).toMatchObject({ status: "COMPLETED", output: { done: true } });
    expect(seen.map(({ action }) => action)).toEqual([TRAIN]);
    expect(world.recorder.records[0]?.data).toMatchObject({
      action: TRAIN,
      action_digest: digestOf(TRAIN),
      decision: { effect: "allow" },
    });
  });

  it("is a signal of the effect's own: the kernel asks another", async () => {
    const stop = new AbortController();
    const lying: Effect = ({ signal }) => {
      const lie = (): never => {
        throw new Error("no");
      };
      Object.defineProperty(signal, "aborted", { get: lie });
      Object.defineProperty(signal, "reason", { get: lie });
      stop.abort();
      throw new Error("it died");
    };
    const request = { ...(await requestFor(world, TRAIN)), signal: stop.signal };
    const outcome = await world.kernel({ effects: { "model.train": lying } }).execute(request);
    expect(outcome).toMatchObject({ status: "KILLED" });
    expect(world.recorder.events).toEqual(["execution.authorized", "execution.killed"]);
  });

  it("is an effect as it was when the kernel was made, with the way to recall it", async () => {
    const failing: Effect = () => Promise.reject(new Error("it failed"));
    const kernel = world.kernel({ effects: { "model.train": failing } });
    Object.assign(failing, { recall: () => Promise.resolve(done()) });
    const outcome = await kernel.execute(await requestFor(world, TRAIN));
    expect(outcome).toMatchObject({ status: "FAILED", code: "ERR_EFFECT_FAILED" });
    expect(() => world.kernel({ effects: { "model.train": {} as Effect } })).toThrow(TypeError);
  });
});

/** Each has an end that is recorded; none lets the effect run but where it had begun. */
describe("those that the kernel calls", () => {
  const callees: [string, string, (thrown: unknown) => Partial<KernelOptions>][] = [
    ["an effect that throws", "FAILED", (e) => ({ effects: { "model.train": () => throwIt(e) } })],
    ["an effect that fails", "FAILED", (e) => ({ effects: { "model.train": () => rejecting(e) } })],
    ["a decider that throws", "DENIED", (e) => ({ policy: decider(() => throwIt(e)) })],
    ["a decider that promises", "DENIED", (e) => ({ policy: decider(() => rejecting(e)) })],
    ["a switch that throws", "SCRAM_ABORT", (e) => ({ scram: { preflight: () => throwIt(e) } })],
    [
      "a switch that promises",
      "SCRAM_ABORT",
      (e) => ({ scram: { preflight: () => rejecting(e) as never } }),
    ],
    ["a meter that throws", "COMPLETED", (e) => ({ onStage: () => throwIt(e) })],
    ["a meter that promises", "COMPLETED", (e) => ({ onStage: () => rejecting(e) })],
    ["a clock that throws", "UNAVAILABLE", (e) => ({ clock: clock({ now: () => throwIt(e) }) })],
    [
      "a clock that cannot measure",
      "COMPLETED",
      (e) => ({ clock: clock({ monotonicMs: () => throwIt(e) }), onStage: () => undefined }),
    ],
    [
      "keys that cannot be read",
      "UNAVAILABLE",
      (e) => ({ keys: { current: () => throwIt(e), refresh: () => rejecting(e) } }),
    ],
  ];
  function throwIt(thrown: unknown): never {
    throw thrown;
  }
  const decider = (decide: () => unknown): KernelOptions["policy"] => ({
    policyDigest: world.policy.policyDigest,
    decide: decide as never,
  });
  const clock = (more: Partial<KernelOptions["clock"]>): NonNullable<KernelOptions["clock"]> => ({
    now: () => world.clock.now(),
    monotonicMs: () => world.clock.monotonicMs(),
    ...more,
  });

  it.each(callees)("end nothing but what they are asked about: %s", async (_n, status, make) => {
    for (const [, thrown] of hostileErrors) {
      seen.length = 0;
      const options = make(thrown);
      const outcome = await world
        .kernel({ effects, ...options })
        .execute(await requestFor(world, TRAIN));
      expect(outcome).toMatchObject({ status, entryIndex: world.recorder.records.length - 1 });
      expect(seen).toHaveLength(status === "COMPLETED" ? 1 : 0);
      if (outcome.status !== "COMPLETED") expect(outcome.reason.isWellFormed()).toBe(true);
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });

  it("is a reason to stop that cannot be read", async () => {
    for (const [name, reason] of hostileErrors) {
      seen.length = 0;
      const early = { ...(await requestFor(world, TRAIN)), signal: AbortSignal.abort(reason) };
      const never = await world.kernel({ effects }).execute(early);
      expect(never, name).toMatchObject({ status: "KILLED" });
      expect(seen).toEqual([]);
      const stop = new AbortController();
      const killed: Effect = () => {
        stop.abort(reason);
        return rejecting(reason);
      };
      const late = { ...(await requestFor(world, TRAIN)), signal: stop.signal };
      const outcome = await world.kernel({ effects: { "model.train": killed } }).execute(late);
      expect(outcome, name).toMatchObject({ status: "KILLED" });
    }
    const ends = world.recorder.events.filter((one) => one === "execution.killed");
    expect(ends).toHaveLength(2 * hostileErrors.length);
  });

  it.each<[string, unknown]>([
    ["a date of a subclass", new OwnDate()],
    ["a date that is none", new Date(Number.NaN)],
    ["nothing", undefined],
  ])("is a clock that hands out what is no date: %s", async (_name, now) => {
    const request = await requestFor(world, TRAIN);
    const options = { effects, clock: clock({ now: () => now as Date }) };
    const outcome = await world.kernel(options).execute(request);
    expect(["UNAVAILABLE", "BLOCKED"]).toContain(outcome.status);
    expect(seen).toEqual([]);
  });

  const verdicts: [string, unknown][] = [
    ["nothing", undefined],
    ["a string", "committed"],
    ["committed without an index", { status: "committed" }],
    ["committed at an index that is none", { status: "committed", index: "0" }],
    ["an unknown refusal", { status: "refused", reason: "later" }],
    ["a refusal without detail", { status: "refused", reason: "fenced", detail: Symbol("x") }],
    [
      "one that changes its mind",
      Object.defineProperty({ index: 0 }, "status", { get: flipping("refused", "committed") }),
    ],
  ];
  function flipping(first: string, then: string): () => string {
    let reads = 0;
    return () => (reads++ === 0 ? first : then);
  }
  it("is a recorder whose verdict is none", async () => {
    for (const [name, verdict] of verdicts) {
      const recorder = { record: () => Promise.resolve(verdict as never) };
      const outcome = await world
        .kernel({ effects, recorder })
        .execute(await requestFor(world, TRAIN));
      expect(outcome, name).toMatchObject({ status: "BLOCKED" });
      expect(seen, name).toEqual([]);
    }
  });

  const answers: [string, () => unknown][] = [
    [
      "one that changes",
      () => Object.defineProperty(done(), "status", { get: flipping("x", "y") }),
    ],
    [
      "a proxy that throws",
      () => new Proxy({}, { get: (_, key) => (key === "then" ? undefined : fail()) }),
    ],
    ["a class", () => new Subclass(done())],
    ["toJSON", () => ({ ...done(), toJSON: () => done() })],
    ["inherited fields", () => Object.create(done()) as unknown],
    ["bytes of a subclass", () => ({ ...done(), output: new OwnBytes(4) })],
    ["a date of a subclass", () => ({ ...done(), output: { at: new OwnDate() } })],
    ["a key __proto__", () => ({ ...done(), output: withProto({}, { done: true }) })],
  ];
  it("is an effect whose answer is no result", async () => {
    for (const [name, make] of answers) {
      world.recorder.records.length = 0;
      const train: Effect = () => Promise.resolve(make() as EffectResult);
      const kernel = world.kernel({ effects: { "model.train": train } });
      const outcome = await kernel.execute(await requestFor(world, TRAIN));
      expect(outcome, name).toMatchObject({ status: "FAILED", code: "ERR_EFFECT_RESULT" });
      expect(world.recorder.events).toEqual(["execution.authorized", "execution.failed"]);
    }
  });

  it("is an effect that goes on to change what it answered", async () => {
    const result = done() as { output: { done: boolean } } & EffectResult;
    const thenable = {
      then: (ok: (value: unknown) => void) => {
        ok(result);
        ok({ ...result, output: { done: false } });
        harm(result);
      },
    };
    const options = { effects: { "model.train": () => thenable as unknown as Promise<never> } };
    const asked = world.kernel(options).execute(await requestFor(world, TRAIN));
    const outcome = await asked;
    const end = world.recorder.records.at(-1);
    expect(end?.data["code"] ?? null).toBe(outcome.status === "COMPLETED" ? null : outcome.code);
    harm(outcome);
    expect(await asked).toBe(outcome);
  });
});
