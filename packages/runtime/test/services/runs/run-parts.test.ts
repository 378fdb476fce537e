import { isSovereignError, SovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Effect, EffectResult } from "../../../src/kernel/index.ts";
import { ToolScope } from "../../../src/process/index.ts";
import { toolsHeld } from "../../../src/process/tool-scope.ts";
import { holdTools } from "../../../src/services/runs/hold-tools.ts";
import { withQuietListener } from "../../../src/services/runs/listener.ts";
import type { SessionOptions } from "../../../src/services/runs/open-session.ts";
import { stoppable } from "../../../src/services/runs/stop-signal.ts";
import { harm } from "../../support/harm.ts";
import { TRAIN, World } from "../../support/world.ts";

const OWNER = { tenant_id: "acme", run_id: `run_${"a".repeat(20)}` };
const done: EffectResult = {
  status: "completed",
  output: { done: true },
  artifacts: [],
  usage: { wall_ms: 1, output_bytes: 0 },
};

describe("effects whose tools belong to a run", () => {
  let world: World;
  beforeEach(async () => {
    world = await World.create();
  });
  afterEach(() => {
    world.dispose();
  });

  it("keep their way to say whether an earlier attempt happened", async () => {
    const tools = new ToolScope(() => null as never);
    const held: unknown[] = [];
    const effect: Effect = Object.assign(() => Promise.reject(new Error("it died")), {
      recall: () => {
        held.push({ scope: toolsHeld()?.scope === tools, acts: toolsHeld()?.acts });
        return Promise.resolve(done);
      },
    });
    const effects = holdTools(tools, {
      "model.train": effect,
      "model.promote": () => effect(null as never),
    });
    expect(effects["model.promote"]?.recall).toBeUndefined();
    const kernel = world.kernel({ effects });
    const context = world.context();
    // A process died after the effect: what it did is recorded, and nobody is asked again.
    const recalled = await kernel.recall({ action: TRAIN, context });
    expect(recalled).toMatchObject({ status: "COMPLETED", output: { done: true } });
    // An effect that fails after it had happened is recorded as what it did.
    const authorization = await world.permission(TRAIN, context);
    const outcome = await kernel.execute({ action: TRAIN, context, authorization, approvals: [] });
    expect(outcome).toMatchObject({ status: "COMPLETED", output: { done: true } });
    expect(held).toEqual([
      { scope: true, acts: true },
      { scope: true, acts: true },
    ]);
  });
});

describe("the signal that ends a run", () => {
  const quiet = { onStop: () => () => undefined };

  it("is one that was given before the run began, too", () => {
    const { signal } = stoppable(AbortSignal.abort(new Error("Ctrl-C")), quiet, OWNER);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ message: "Ctrl-C" });
  });

  it("is the caller's, or the kill switch's, whichever is first", () => {
    const outer = new AbortController();
    const first = stoppable(outer.signal, quiet, OWNER);
    outer.abort("x");
    expect(first.signal.aborted).toBe(true);
    const tripped = {
      onStop: (_owner: unknown, stop: (refusal: never) => void) => {
        stop({ armed: false, code: "ERR_SCRAM_TRIPPED", reason: "tripped" } as never);
        return () => undefined;
      },
    };
    const second = stoppable(new AbortController().signal, tripped, OWNER);
    expect(isSovereignError(second.signal.reason, "ERR_SCRAM_TRIPPED")).toBe(true);
  });
});

describe("whoever is told how a run goes on", () => {
  const told = { event: "step.started", step: "step_01", operations: 2 } as const;
  type Listener = SessionOptions["onProgress"];

  it.each<[string, () => unknown]>([
    [
      "throws",
      () => {
        throw new SovereignError("ERR_USAGE", "a closed pipe");
      },
    ],
    ["promises, and fails", () => Promise.reject(new Error("a closed pipe"))],
    ["hands back what only looks like a promise", () => ({ then: 7 })],
  ])("ends nothing: one that %s", async (_name, answer) => {
    const unhandled: unknown[] = [];
    const keep = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", keep);
    const listener: Pick<SessionOptions, "onProgress"> = { onProgress: answer };
    const { onProgress } = withQuietListener(listener);
    expect(() => {
      onProgress(told);
    }).not.toThrow();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", keep);
    expect(unhandled).toEqual([]);
  });

  it("changes nothing of what the run itself holds", () => {
    const progress = { ...told, lines: ["one"] };
    const onProgress: Listener = (given) => {
      expect(given).toEqual({ ...told, lines: ["one"] });
      expect(harm(given)).toBe(0);
    };
    withQuietListener({ onProgress }).onProgress(progress);
    expect(progress).toEqual({ ...told, lines: ["one"] });
  });
});
