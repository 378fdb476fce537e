import { runInNewContext } from "node:vm";
import { utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { callParams } from "../../src/coding/index.ts";
import {
  defineEffect,
  type EffectResult,
  type Invocation,
  type KernelOptions,
} from "../../src/kernel/index.ts";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { done, expectLaw, requestFor, witness } from "../support/kernel-law.ts";
import { unhandledRejections } from "../support/unhandled-rejections.ts";
import { MemoryRecorder, TRAIN, World } from "../support/world.ts";

let world: World;
const { seen, effects } = witness();
const unhandled = unhandledRejections();
beforeEach(async () => {
  world = await World.create();
  seen.length = 0;
});
afterEach(() => {
  world.dispose();
});

/** What a library may have done to every object, or list, of the process. */
async function polluted<T>(
  prototype: object,
  fields: Record<string, unknown>,
  work: () => T,
): Promise<Awaited<T>> {
  try {
    for (const [name, value] of Object.entries(fields)) {
      Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
    }
    return await work();
  } finally {
    for (const name of Object.keys(fields)) Reflect.deleteProperty(prototype, name);
  }
}

/** Each a policy of its own, of which nothing is known yet. */
const guarded = (id: string): string => `@id("${id}") permit(principal, action, resource);
@id("none") forbid(principal, action, resource) when { context.type == "model.train" && context.tenant == "acme" };`;

describe("a toJSON on every object", () => {
  const forms: [string, object, (this: object) => unknown][] = [
    ["that empties lists", Array.prototype, () => []],
    ["that makes texts of lists", Array.prototype, () => "[]"],
    ["that empties all", Object.prototype, () => ({})],
    ["that says one thing", Object.prototype, () => 1],
    ["that lies of whose work it is", Object.prototype, another],
  ];
  function another(this: object): object {
    return "tenant" in this ? { ...this, tenant: "other" } : this;
  }

  it.each(forms)(
    "has no policy asked about something else: %s",
    async (name, prototype, toJSON) => {
      const text = utf8Encode(guarded(name));
      const made = (): PolicyEngine => new PolicyEngine(parsePolicy(text, "x.cedar"));
      const [before, context] = [made(), world.context()];
      const effect = (engine: PolicyEngine, resource: string) =>
        engine.decide({ ...TRAIN, resource }, context).effect;
      expect(before.decide({ ...TRAIN, type: "model.promote" }, context).effect).toBe("allow");
      const found = await polluted(prototype, { toJSON }, () =>
        [before, ...attempt(made)].flatMap((one) => [effect(one, "a"), effect(one, "b")]),
      );
      expect(new Set(found)).toEqual(new Set(["deny"]));
      expect([effect(before, "c"), effect(made(), "c")]).toEqual(["deny", "deny"]);
    },
  );

  it.each(forms)("has no tool's call recorded as another: %s", async (_n, prototype, toJSON) => {
    const call = { id: "1", input: { path: "secret" } };
    const made = await polluted(prototype, { toJSON }, () => attempt(() => callParams(call, [])));
    expect(made).toEqual([]);
    expect(callParams(call, [])).toMatchObject({ input: { bytes: 17 } });
  });

  it.each(forms)("changes nothing of the law: %s", async (_name, prototype, toJSON) => {
    const request = await requestFor(world, TRAIN);
    const other = { ...TRAIN, type: "model.delete" };
    const kernel = world.kernel({ effects });
    const outcomes = await polluted(prototype, { toJSON }, async () => [
      await kernel.execute({ ...request, action: other }),
      await kernel.execute({ ...request, authorization: null }),
    ]);
    for (const outcome of outcomes) expect(outcome.status).not.toBe("COMPLETED");
    expect(seen).toEqual([]);
    await expectLaw(world);
  });
});

function attempt<T>(make: () => T): T[] {
  try {
    return [make()];
  } catch {
    return [];
  }
}

describe("what every object has", () => {
  it.each<[string, Record<string, unknown>, Partial<KernelOptions>, string]>([
    [
      "is no word of a kill switch that gave none",
      { armed: true },
      { scram: { preflight: () => ({}) as never } },
      "SCRAM_ABORT",
    ],
    [
      "is no word of a kill switch that promises one",
      { armed: true },
      { scram: { preflight: () => Promise.resolve({ armed: false }) as never } },
      "SCRAM_ABORT",
    ],
    [
      "is no verdict of a recorder that gave none",
      { status: "committed", index: 0 },
      { recorder: { record: () => Promise.resolve({} as never) } },
      "BLOCKED",
    ],
  ])("%s", async (_name, fields, options, status) => {
    const request = await requestFor(world, TRAIN);
    const kernel = world.kernel({ effects, ...options });
    const outcome = await polluted(Object.prototype, fields, () => kernel.execute(request));
    expect(outcome).toMatchObject({ status });
    expect(seen).toEqual([]);
  });
});

describe("a promise that nobody waits for", () => {
  const promises: [string, () => unknown][] = [
    ["of another realm", () => runInNewContext('Promise.reject(new Error("far"))') as unknown],
    [
      "with a catch of its own",
      () => Object.assign(Promise.reject(new Error("own")), { catch: () => undefined }),
    ],
  ];
  it.each(promises)("does not end the process: %s", async (_name, make) => {
    const policy = { policyDigest: world.policy.policyDigest, decide: make as never };
    const askers: [Partial<KernelOptions>, string][] = [
      [{ policy }, "DENIED"],
      [{ scram: { preflight: make as never } }, "SCRAM_ABORT"],
      [{ onStage: make }, "COMPLETED"],
    ];
    for (const [options, status] of askers) {
      const kernel = world.kernel({ effects, ...options });
      expect(await kernel.execute(await requestFor(world, TRAIN))).toMatchObject({ status });
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });
});

describe("a declared effect", () => {
  const invocation = (): Invocation => ({
    action: {
      type: "evidence.export",
      resource: "r",
      params: { artifact: "a", formats: ["json"] },
    },
    context: world.context(),
    idempotencyKey: "0".repeat(64),
    signal: new AbortController().signal,
  });
  const flip = (first: unknown, then: unknown): (() => unknown) => {
    let reads = 0;
    return () => (reads++ === 0 ? first : then);
  };
  const wrong = { entries: -1 };

  it.each<[string, () => object]>([
    [
      "one output, and another to whoever records it",
      () =>
        Object.defineProperty(done(), "output", {
          get: flip({ entries: 1 }, wrong),
          enumerable: true,
        }),
    ],
    [
      "that it failed, and then that it did not",
      () =>
        Object.defineProperty({ ...done(), output: wrong, code: "x", reason: "x" }, "status", {
          get: flip("failed", "completed"),
          enumerable: true,
        }),
    ],
    [
      "a proxy",
      () => {
        const output = flip({ entries: 1 }, wrong);
        return new Proxy(done(), {
          get: (held, key) => (key === "output" ? output() : (Reflect.get(held, key) as unknown)),
        });
      },
    ],
  ])("answers once, who answers %s", async (_name, make) => {
    const effect = defineEffect("evidence.export", () => Promise.resolve(make() as EffectResult));
    const kernelSaw = await effect(invocation()).catch(() => null);
    const again = JSON.stringify(kernelSaw);
    expect(again).not.toContain("-1");
    expect(JSON.stringify(kernelSaw)).toBe(again);
  });
});

describe("a refusal that could not be recorded at once", () => {
  it("stands in a plain form where the ledger then takes no other", async () => {
    const kernel = world.kernel({ effects });
    world.armed = false;
    world.recorder.failOn = ["execution.aborted"];
    const hidden = await kernel.execute(await requestFor(world, TRAIN));
    expect(hidden).toMatchObject({ status: "SCRAM_ABORT", entryIndex: null });
    world.armed = true;
    world.recorder.invalidOnce = true;
    expect(await kernel.execute(await requestFor(world, TRAIN))).toMatchObject({
      status: "COMPLETED",
    });
    const [first] = world.recorder.records;
    expect(first).toMatchObject({
      event: "execution.aborted",
      data: { code: "ERR_SCRAM_TRIPPED", action_digest: hidden.actionDigest },
    });
    expect(first?.data["reason"]).toContain("not recordable as it was");
  });
});

describe("a permission", () => {
  it("is good once over a restart, and in no other tenant's run", async () => {
    const request = await requestFor(world, TRAIN);
    const nonces = new MemoryRecorder(() => world.log.entries.length);
    const first = world.kernel({ effects, recorder: nonces });
    expect(await first.execute(request)).toMatchObject({ status: "COMPLETED" });
    // Another process: a kernel of its own over the same ledger.
    const second = world.kernel({ effects, recorder: nonces });
    expect(await second.execute(request)).toMatchObject({ code: "ERR_NONCE_REPLAYED" });
    for (const more of [{ tenant_id: "other" }, { run_id: `run_${"b".repeat(20)}` }]) {
      const context = { ...request.context, ...more };
      expect(await second.execute({ ...request, context })).toMatchObject({ status: "BLOCKED" });
    }
    expect(seen).toHaveLength(1);
  });
});
