import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EMPTY_STREAM, StreamWriter } from "../../src/ledger/index.ts";
import { RunRecorder } from "../../src/runs/index.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { TRAIN, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

describe("a permission that ends between its judgement and its entry", () => {
  it("is refused: a verifier goes by the time of the entry", async () => {
    const { run_id: runId, ...rest } = world.context();
    const context = { ...rest, run_id: runId };
    const store = new MemoryStore();
    const writer = new StreamWriter(store, "acme", runId, EMPTY_STREAM);
    const options = { runId, tenantId: "acme", writer, clock: world.clock, epoch: null };
    const recorder = new RunRecorder(options);
    let slept = false;
    const kernel = world.kernel({
      recorder: {
        record: (run, record) => {
          // The machine sleeps while the record waits for its turn.
          if (!slept) world.clock.ms += 2 * 60 * 1000;
          slept = true;
          return recorder.record(run, { ...record, keyEpoch: null });
        },
      },
    });
    const authorization = await world.permission(TRAIN, context);
    const request = { action: TRAIN, context, authorization, approvals: [] };
    const late = await kernel.execute(request);
    expect(late).toMatchObject({ status: "BLOCKED", code: "ERR_BINDING_EXPIRED" });
    expect(world.effects).toBe(0);
    const again = await world.permission(TRAIN, context);
    const asked = await kernel.execute({ ...request, authorization: again });
    expect(asked).toMatchObject({ status: "COMPLETED" });
    const events = (store.logs.get("acme") ?? []).map(
      ({ bytes }) => /"event_type":"([^"]+)"/.exec(Buffer.from(bytes).toString())?.[1],
    );
    expect(events).toEqual(["execution.blocked", "execution.authorized", "execution.completed"]);
  });
});
