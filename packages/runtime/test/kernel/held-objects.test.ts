import { type Action, digestOf, type Envelope, isSovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ExecuteRequest, Outcome } from "../../src/kernel/index.ts";
import { harm } from "../support/harm.ts";
import {
  copyOf,
  fieldsOf,
  OwnBytes,
  OwnDate,
  Subclass,
  throwing,
  withProto,
} from "../support/hostile-values.ts";
import { expectLaw, requestFor, witness } from "../support/kernel-law.ts";
import { unhandledRejections } from "../support/unhandled-rejections.ts";
import { PROMOTE, TRAIN, World } from "../support/world.ts";

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

const COMPLETED = ["execution.authorized", "execution.completed"];

/** One part of a request: where it is, and what somebody would like to have read instead. */
interface Part {
  readonly name: string;
  readonly get: (request: ExecuteRequest) => unknown;
  readonly set: (request: ExecuteRequest, value: unknown) => ExecuteRequest;
  readonly instead: unknown;
}

const OTHER: Action = { ...TRAIN, params: { trees: 900 } };
const NO_ENVELOPE = { payloadType: "x", payload: "", signatures: [] };
const part = (name: keyof ExecuteRequest, instead: unknown): Part => ({
  name,
  get: (request) => request[name],
  set: (request, value) => ({ ...request, [name]: value }),
  instead,
});
const permission = (name: "role" | "binding"): Part => ({
  name: `authorization.${name}`,
  get: ({ authorization }) => authorization?.[name],
  set: (request, value) =>
    ({ ...request, authorization: { ...request.authorization, [name]: value } }) as ExecuteRequest,
  instead: NO_ENVELOPE,
});
const PARTS: readonly Part[] = [
  part("action", OTHER),
  part("context", { mode: "compatible" }),
  part("authorization", null),
  part("approvals", []),
  part("signal", { aborted: true }),
  permission("role"),
  permission("binding"),
  {
    name: "action.params",
    get: ({ action }) => action.params,
    set: (request, value) => ({
      ...request,
      action: { ...request.action, params: value as never },
    }),
    instead: { trees: 900 },
  },
  {
    name: "an approval",
    get: ({ approvals }) => approvals[0],
    set: (request, value) => ({ ...request, approvals: [value as Envelope, ...request.approvals] }),
    instead: NO_ENVELOPE,
  },
];

/** What a caller may put in the place of a part; `true` for a part that is as it was. */
const FORMS: readonly [string, (value: unknown, instead: unknown) => unknown][] = [
  [
    "a proxy whose fields change",
    (value, instead) => {
      const reads = new Map<PropertyKey, number>();
      return new Proxy(fieldsOf(value), {
        get: (target, key) => {
          const count = (reads.get(key) ?? 0) + 1;
          reads.set(key, count);
          return Reflect.get(count > 1 ? fieldsOf(instead) : target, key) as unknown;
        },
      });
    },
  ],
  ["a proxy that throws", () => throwing],
  ["toJSON", (value, instead) => ({ ...fieldsOf(value), toJSON: () => instead })],
  [
    "a thenable",
    (value) => ({
      ...fieldsOf(value),
      then: (ok: (v: unknown) => void) => {
        ok(value);
      },
    }),
  ],
  ["a promise", (value) => Promise.resolve(value)],
  ["a symbol key", (value) => withKey(value, Symbol.toPrimitive)],
  ["a key __proto__", (value, instead) => withProto(value, instead)],
  ["another prototype", (value) => new Subclass(fieldsOf(value))],
  ["fields that are inherited", (value) => Object.create(fieldsOf(value)) as unknown],
  ["bytes of a subclass", () => new OwnBytes(8)],
  ["a date of a subclass", () => new OwnDate()],
  [
    "frozen",
    (value) => (typeof value === "object" && value ? Object.freeze(copyOf(value)) : value),
  ],
  ["a function", (value) => Object.assign(() => value, fieldsOf(value))],
];

function withKey(value: unknown, key: symbol): unknown {
  const copy = copyOf(fieldsOf(value));
  return Object.isExtensible(copy) ? Object.assign(copy, { [key]: () => "x" }) : copy;
}
/** Whatever was asked: what ran is what was recorded, and what did not run was refused. */
async function expectHonest(asked: Promise<Outcome>, action: Action, form = ""): Promise<void> {
  const { records } = world.recorder;
  let outcome: Outcome;
  try {
    outcome = await asked;
  } catch (error) {
    // Without a readable context there is no run whose stream could hold the refusal.
    expect(isSovereignError(error)).toBe(true);
    expect([seen, records]).toEqual([[], []]);
    return;
  }
  if (outcome.status === "COMPLETED") {
    expect(
      seen.map((one) => one.action),
      form,
    ).toEqual([action]);
    expect(world.recorder.events, form).toEqual(COMPLETED);
    const [intent] = records;
    expect(intent?.data).toMatchObject({ action, action_digest: digestOf(action) });
    const named = Object.values(intent?.data["envelopes"] as object) as string[];
    expect(intent?.envelopes.map((one) => digestOf(one)).sort()).toEqual(named.sort());
    if (action === PROMOTE) expect(named).toHaveLength(4);
    return;
  }
  expect(seen, form).toEqual([]);
  expect(records.at(-1)?.data).toMatchObject({ code: outcome.code, reason: outcome.reason });
  expect(outcome.entryIndex).toBe(records.length - 1);
}

describe("what goes into the kernel", () => {
  it.each(PARTS)("is what was recorded, or refused: $name", async (one) => {
    for (const [form, make] of FORMS) {
      for (const action of [TRAIN, PROMOTE]) {
        seen.length = 0;
        world.recorder.records.length = 0;
        const request = await requestFor(world, action);
        const changed = one.set(request, make(one.get(request), one.instead));
        await expectHonest(world.kernel({ effects }).execute(changed), action, form);
      }
    }
    expect(unhandled).toEqual([]);
  });

  it.each<keyof ExecuteRequest>(["action", "context", "authorization", "approvals", "signal"])(
    "is refused where it throws when it is read: %s",
    async (key) => {
      const request = { ...(await requestFor(world, TRAIN)) };
      Object.defineProperty(request, key, {
        enumerable: true,
        get: () => {
          throw new Error("no");
        },
      });
      await expectHonest(world.kernel({ effects }).execute(request), TRAIN);
      expect(seen).toEqual([]);
      const recalled = await world
        .kernel({ effects })
        .recall(request)
        .catch((error: unknown) => isSovereignError(error));
      // Nothing of a permission is read where something is only recalled.
      expect(recalled).toBe(key === "authorization" || key === "approvals" ? null : true);
    },
  );

  it.each(PARTS)("may be changed after the call, and amid every await: $name", async (one) => {
    for (const action of [TRAIN, PROMOTE]) {
      seen.length = 0;
      world.recorder.records.length = 0;
      const request = structuredClone(await requestFor(world, action));
      const wreck = (): void => {
        const held = one.get(request);
        if (!(held instanceof AbortSignal)) harm(held);
        Object.assign(request, one.set(request, one.instead));
      };
      world.recorder.staleOnce = true;
      const kernel = world.kernel({
        effects,
        keys: {
          current: () => world.keyLog.current(),
          refresh: () => {
            wreck();
            return world.keyLog.refresh();
          },
        },
      });
      const asked = kernel.execute(request);
      wreck();
      expect(await asked).toMatchObject({ status: "COMPLETED" });
      await expectHonest(asked, action);
    }
  });

  it("is read by its own fields, whatever all objects have", async () => {
    const polluted = Object.prototype as unknown as Record<string, unknown>;
    const request = await requestFor(world, PROMOTE);
    const context = world.context({ mode: "compatible" });
    for (const key of POLLUTED) {
      try {
        Object.defineProperty(polluted, key, { configurable: true, writable: true, value: true });
        const kernel = world.kernel({ effects });
        const loose = await kernel.execute({ ...request, context }).catch(() => null);
        expect(loose, key).not.toMatchObject({ status: "COMPLETED" });
        const bare: Partial<ExecuteRequest> = { ...request };
        Reflect.deleteProperty(bare, "authorization");
        const without = await kernel.execute(bare as ExecuteRequest).catch(() => null);
        expect(without, key).not.toMatchObject({ status: "COMPLETED" });
        expect(seen, key).toEqual([]);
      } finally {
        Reflect.deleteProperty(polluted, key);
      }
    }
    await expectLaw(world);
  });
});

const POLLUTED = [
  ...["error", "reason", "allowCompatible", "onStage", "recall", "toJSON", "then"],
  ...["authorization", "approvals", "envelope", "observed", "signal"],
];
