import { digestOf, parseAnyStatement } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

describe("an authorisation", () => {
  it("is for the action as it was asked for, however it is changed while it is issued", async () => {
    const action = { type: "model.train", resource: "m", params: { trees: 3 } };
    const digest = digestOf(action);
    const context = world.context();
    const issuing = world.authority.issueAuthorization(action, context);
    action.params.trees = 4;
    const { role, binding } = await issuing;
    for (const { payload } of [role, binding]) {
      const statement = parseAnyStatement(Buffer.from(payload, "base64"));
      expect(statement.predicate).toMatchObject({ action_digest: digest });
      expect(statement.subject).toEqual([
        { name: "action:model.train", digest: { sha256: digest } },
      ]);
    }
    const authorization = { role, binding };
    const changed = await world.kernel().execute({ action, context, authorization, approvals: [] });
    expect(changed).toMatchObject({ status: "BLOCKED" });
    expect(world.effects).toBe(0);
  });

  it("is not issued for what policy denies", async () => {
    const action = { type: "model.erase", resource: "m", params: {} };
    await expect(world.authority.issueAuthorization(action, world.context())).rejects.toMatchObject(
      {
        code: "ERR_BINDING_REFUSED",
      },
    );
  });
});
