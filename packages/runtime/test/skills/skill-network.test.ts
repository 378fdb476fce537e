import { type ErrorCode, SovereignError } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { EgressDesk } from "../../src/agents/index.ts";
import { SandboxedNetwork } from "../../src/skills/skill-network.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { deskOptions, HandGate } from "../support/model-rig.ts";

const HOST = "api.example.org";
const policy = {
  policy_id: "p",
  schema_version: "1.0",
  operations: [{ type: "skill.http_call", resources: [HOST] }],
};
const action = { type: "skill.http_call", resource: HOST, params: {} };

/** What a step is told whose host says that it failed, where an event cannot be recorded. */
async function lend(unrecordable: string | null, isAborted = false): Promise<unknown> {
  const {
    context,
    policy: decider,
    scram,
  } = deskOptions({ entries: [], gate: new HandGate() }, { policy });
  const record = (event: string): Promise<void> =>
    event === unrecordable
      ? Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "The database is away."))
      : Promise.resolve();
  const about = { context, policy: decider, scram, record, entropy: systemEntropy };
  const desk = await EgressDesk.open({ ...about, step: action }, null);
  const signal = new AbortController();
  const network = new SandboxedNetwork({
    sandbox: { run: () => Promise.reject(new Error("no sandbox")) },
    signal: signal.signal,
    startGateway: () =>
      Promise.resolve({
        grant: () => Promise.resolve({ token: "t", end: () => desk.abandon() }),
        close: () => Promise.resolve(),
      }),
    openModel: () => Promise.reject(new Error("no model")),
    deskFor: () => Promise.resolve(desk),
  });
  const step = { action, context, host: HOST, isNamed: true, secrets: [] };
  const failed = network
    .lend(step, signal.signal, async () => {
      const connection = await desk.connected(HOST, 443, "192.0.2.1").catch(() => null);
      if (isAborted) signal.abort();
      if (connection !== null) await desk.closed(connection, "closed", 1, 1).catch(() => null);
      throw new SovereignError("ERR_SKILL_FAILED", "The host says that it failed.");
    })
    .catch((error: unknown) => error);
  await network.close();
  return failed;
}

const told = (code: ErrorCode, details: object = {}): unknown =>
  expect.objectContaining({ code, details });

describe("a step whose connections cannot be recorded", () => {
  it("waits for the database, and has not happened where none began", async () => {
    const details = { mayHaveHappened: false };
    expect(await lend("egress.connected")).toEqual(told("ERR_STORE_UNAVAILABLE", details));
  });

  it("may have happened where one began", async () => {
    const details = { mayHaveHappened: true };
    expect(await lend("egress.closed")).toEqual(told("ERR_STORE_UNAVAILABLE", details));
  });

  it("is as its host says where all was recorded, and where it was ended", async () => {
    expect(await lend(null)).toEqual(told("ERR_SKILL_FAILED"));
    expect(await lend("egress.connected", true)).toEqual(told("ERR_SKILL_FAILED"));
  });
});
