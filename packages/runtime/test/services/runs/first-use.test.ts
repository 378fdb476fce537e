import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeyLog, Keystore } from "../../../src/authority/index.ts";
import { enrolFirstUse, type Needed } from "../../../src/services/runs/first-use.ts";
import { World } from "../../support/world.ts";

let world: World;
let told: unknown[];

beforeEach(async () => {
  world = await World.create();
  told = [];
});
afterEach(() => {
  world.dispose();
});

function enrol(
  needed: Needed,
  approvers: readonly string[] = [],
  how: "automatic" | "manual" = "automatic",
): Promise<void> {
  const settings = { config: { keys: { enrol: how } } } as Parameters<typeof enrolFirstUse>[1];
  const input = { approvers, onProgress: (event: unknown) => void told.push(event) };
  return enrolFirstUse(world, settings, needed, input);
}
const holders = (role: string): number =>
  world.keyLog.current().windows.filter(({ record }) => record.role === role).length;

describe("the first use of a role", () => {
  it.each(["executor", "runner"])("enrols a command's own, %s, once, and says so", async (role) => {
    await enrol({ role, asks: [] });
    expect(holders(role)).toBe(1);
    expect(told).toMatchObject([{ event: "keys.enrolled", keys: [{ purpose: "role", role }] }]);
    await enrol({ role, asks: [] });
    expect(holders(role)).toBe(1);
    expect(told).toHaveLength(1);
  });

  it("is no first use where another process enrolled it since the key log was read", async () => {
    const ahead = new KeyLog(world.log, `ins_${"a".repeat(20)}`, world.clock);
    await ahead.refresh();
    await ahead.introduceAll(world.keystore, [{ purpose: "role", role: "runner" }]);
    await enrol({ role: "runner", asks: [] });
    expect({ holders: holders("runner"), told }).toEqual({ holders: 1, told: [] });
  });

  it("is one where several come at once, in one process or in two", async () => {
    const other = new KeyLog(world.log, `ins_${"a".repeat(20)}`, world.clock);
    await other.refresh();
    const here = Array.from({ length: 8 }, (_, at) =>
      enrol({ role: "executor", asks: ["bob"] }, at % 2 === 0 ? ["bob"] : []),
    );
    const there = enrolFirstUse(
      { keystore: world.keystore, keyLog: other, clock: world.clock },
      { config: { keys: { enrol: "automatic" } } } as Parameters<typeof enrolFirstUse>[1],
      { role: "executor", asks: [] },
      { approvers: [], onProgress: (event) => void told.push(event) },
    );
    await Promise.all([...here, there]);
    await world.keyLog.refresh();
    expect([holders("executor"), holders("bob")]).toEqual([1, 1]);
  });

  it("enrols an approver whom the command line names and the run asks", async () => {
    await enrol({ role: "trainer", asks: ["bob", "carol"] }, ["bob", "mallory"]);
    expect([holders("bob"), holders("carol"), holders("mallory")]).toEqual([1, 0, 0]);
  });

  it.each(["painter", "operator", "architect", "root"])(
    "enrols no role that a document alone names: %s",
    async (role) => {
      await enrol({ role, asks: [role] });
      expect(holders(role)).toBe(0);
    },
  );

  it("enrols none in the place of a key that was revoked", async () => {
    await enrol({ role: "executor", asks: [] });
    const key = world.keyLog.current().windows.find(({ record }) => record.role === "executor");
    await world.keyLog.revoke(world.keystore, key?.record.key_id ?? "", "lost", false);
    await enrol({ role: "executor", asks: [] });
    expect(holders("executor")).toBe(1);
  });

  it("is refused with what to type where the configuration says manual", async () => {
    await expect(enrol({ role: "executor", asks: ["bob"] }, ["bob"], "manual")).rejects.toThrow(
      "sovereign keys add --role executor --approver bob",
    );
    expect(holders("executor")).toBe(0);
  });

  it("is refused, and makes no key, where the keys are locked", async () => {
    const folder = join(world.folder, "locked");
    const passphrase = Buffer.from("secret");
    const locked = new World();
    const open = await Keystore.open({ folder, passphrase });
    await locked.keyLog.initialise(open, [{ purpose: "root", role: null }]);
    locked.keystore = await Keystore.open({ folder, passphrase: null });
    world = locked;
    const before = readdirSync(folder);
    await expect(enrol({ role: "executor", asks: [] })).rejects.toThrow(
      /SOVEREIGN_PASSPHRASE_FILE/,
    );
    expect(readdirSync(folder)).toEqual(before);
  });
});
