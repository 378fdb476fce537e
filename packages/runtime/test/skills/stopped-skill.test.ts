import { type Action, type ActionContext, GENESIS_HASH, SovereignError } from "@sovereign/core";
import { expect, it } from "vitest";
import type { Invocation } from "../../src/kernel/index.ts";
import { createSkillEffects, SKILLS } from "../../src/skills/index.ts";
import { systemClock } from "../../src/system/index.ts";

/** A call that ends as told once it is stopped. */
function stopped(method: string, why: Error): Promise<unknown> {
  const stop = new AbortController();
  const effects = createSkillEffects({
    clock: systemClock,
    isNamed: () => true,
    network: {
      ready: () => Promise.resolve(),
      perform: () => {
        stop.abort(new Error("the worker goes away"));
        return Promise.reject(why);
      },
    },
  } as never);
  const url = "http://127.0.0.1:9/a";
  const input = { url, method, ...(method === "GET" ? {} : { idempotent: false }) };
  const params = { version: SKILLS.http_call.version, input, timeout_ms: 30_000, cost_microusd: 0 };
  const action: Action = { type: "skill.http_call", resource: "127.0.0.1:9", params };
  const context = {} as ActionContext;
  const { signal } = stop;
  const invocation: Invocation = { action, context, idempotencyKey: GENESIS_HASH, signal };
  return Promise.resolve(effects["skill.http_call"]?.(invocation));
}

it("that repeats safely and was stopped has no end of its own", async () => {
  const why = new Error("socket hang up");
  await expect(stopped("GET", why)).rejects.toBe(why);
});

it("that must not happen twice and was stopped is unknown", async () => {
  const why = new SovereignError("ERR_STORE_UNAVAILABLE", "away", { mayHaveHappened: true });
  for (const one of [why, new Error("socket hang up")]) {
    await expect(stopped("POST", one)).rejects.toMatchObject({ code: "ERR_OUTCOME_UNKNOWN" });
  }
});
