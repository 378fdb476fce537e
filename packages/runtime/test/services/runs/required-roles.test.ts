import { describe, expect, it } from "vitest";
import { requireRoles } from "../../../src/services/runs/required-roles.ts";
import { EvidenceWorld } from "../../support/evidence.ts";

describe("the roles of a run", () => {
  it("are all named at once where nobody ever enrolled them", async () => {
    const { world } = await EvidenceWorld.create();
    const keys = world.keyLog.current();
    const known = keys.windows.find(({ record }) => record.purpose === "role")?.record.role ?? "";
    expect(known).not.toBe("");
    expect(() => {
      requireRoles(keys, [known]);
    }).not.toThrow();
    const refuse = (): void => {
      requireRoles(keys, ["painter", known, "mason"]);
    };
    expect(refuse).toThrow(expect.objectContaining({ code: "ERR_KEY_NOT_FOUND", exitCode: 2 }));
    expect(refuse).toThrow("sovereign keys add --role painter --role mason");
    world.dispose();
  });
});
