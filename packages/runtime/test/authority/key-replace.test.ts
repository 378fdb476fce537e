import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { KeyRecord, KeyPurpose } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  KeyLog,
  type KeyLogStore,
  type KeySlot,
  Keystore,
  type NewKeyEvent,
} from "../../src/authority/index.ts";
import { TRAIN, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

const INSTALLATION = `ins_${"a".repeat(20)}`;
const folder = (): string => join(world.folder, "keys");
const lose = (keyId: string): void => {
  for (const name of readdirSync(folder())) {
    if (name.includes(keyId.slice(0, 16))) unlinkSync(join(folder(), name));
  }
};

/** Another process on the same installation. */
async function another(store: KeyLogStore = world.log): Promise<KeyLog> {
  const keyLog = new KeyLog(store, INSTALLATION, world.clock);
  await keyLog.refresh();
  return keyLog;
}

const inForce = ({ purpose, role }: KeySlot): string[] => {
  const table = world.keyLog.current();
  const at = world.clock.now().toISOString();
  return table.valid(purpose, role, table.count, at).map(({ record }) => record.key_id);
};

const nowOf = (purpose: KeyPurpose): string => inForce({ purpose, role: null })[0] ?? "";

describe("keys replace", () => {
  const SLOTS: readonly KeySlot[] = [
    ...(
      ["root", "checkpoint", "config", "binding", "seal", "attestation", "sentinel"] as const
    ).map((purpose) => ({ purpose, role: null })),
    { purpose: "role", role: "trainer" },
    { purpose: "approval", role: "release_manager" },
    { purpose: "operator", role: "alice" },
    { purpose: "architect", role: "bob" },
  ];

  it("puts one key in the place of every lost, revoked, expired or doubled one of its purpose", async () => {
    const { keyLog, keystore, clock } = world;
    const soon = new Date(clock.ms + 1000).toISOString();
    await keyLog.introduceAll(keystore, [...SLOTS.slice(-2)]);
    for (const slot of SLOTS) {
      const name = `${slot.purpose} ${slot.role ?? ""}`;
      const fits = async (): Promise<void> => {
        const made = await keyLog.replace(keystore, slot, "test");
        expect(inForce(slot), name).toEqual([made.key_id]);
        const signer = await world.authority.signer(slot.purpose, slot.role);
        expect(signer.publicKey.keyId, name).toBe(made.key_id);
      };
      await fits();
      const another = { another: true };
      const spare = await keyLog.introduce(keystore, { ...slot, notAfter: soon }, another);
      await fits();
      expect(keyLog.current().get(spare.key_id)?.ended, name).not.toBeNull();
      if (slot.purpose === "root") continue;
      lose(inForce(slot)[0] ?? "");
      const restarted = world.authorityFor((action, context) =>
        world.policy.decide(action, context),
      );
      await expect(restarted.signer(slot.purpose, slot.role), name).rejects.toThrow(
        /Put it back, or put another key in its place with: sovereign keys replace/,
      );
      await fits();
      await keyLog.revoke(keystore, inForce(slot)[0] ?? "", "stolen", false);
      await expect(world.authority.signer(slot.purpose, slot.role), name).rejects.toThrow(
        /the last one is revoked\. Put another key in its place with: sovereign keys replace/,
      );
      await fits();
    }
    const expiring = { purpose: "seal", role: null, notAfter: soon } as const;
    await keyLog.replace(keystore, expiring, "short");
    clock.ms += 2000;
    await expect(world.authority.signer("seal", null)).rejects.toMatchObject({
      code: "ERR_KEY_NOT_IN_FORCE",
    });
    await keyLog.replace(keystore, { purpose: "seal", role: null }, "expired");
    await world.authority.signer("seal", null);
  });

  it("is no help where the clock is behind, which is said with both times", async () => {
    world.clock.ms -= 2 * 365 * 24 * 3600 * 1000;
    const now = world.clock.now().toISOString();
    for (const slot of SLOTS.filter(({ purpose }) => ["seal", "role"].includes(purpose))) {
      const signing = world.authority.signer(slot.purpose, slot.role);
      await expect(signing).rejects.toThrow(/clock says .* is good from .* on\. If the clock/);
      await expect(signing).rejects.toThrow(now);
    }
  });

  it("replaces a lost root key by a spare one, and says what to do without one", async () => {
    const { keyLog, keystore } = world;
    const first = world.keyIdOf("root");
    const spare = await keyLog.introduce(keystore, { purpose: "root", role: null });
    lose(first);
    const made = await keyLog.replace(keystore, { purpose: "root", role: null }, "lost");
    expect(inForce({ purpose: "root", role: null })).toEqual([made.key_id]);
    expect(keyLog.current().get(spare.key_id)?.ended).not.toBeNull();
    lose(made.key_id);
    const before = readdirSync(folder());
    const refused = keyLog.replace(keystore, { purpose: "seal", role: null }, "lost");
    await expect(refused).rejects.toThrow(/no root key that is in force .* Put the file of one/);
    expect(readdirSync(folder())).toEqual(before);
  });

  it("makes no key for a role or a person who never had one", async () => {
    const before = readdirSync(folder());
    const refused = world.keyLog.replace(world.keystore, { purpose: "role", role: "x" }, "test");
    await expect(refused).rejects.toMatchObject({
      code: "ERR_KEY_NOT_FOUND",
      message: expect.stringContaining("sovereign keys add --role x") as string,
    });
    expect(readdirSync(folder())).toEqual(before);
  });
});

describe("two commands at once", () => {
  it.each<[string, KeyPurpose, (log: KeyLog, keyId: string) => Promise<unknown>]>([
    ["rotations of the root", "root", (log, id) => log.rotate(world.keystore, id, "x")],
    ["rotations of a key", "seal", (log, id) => log.rotate(world.keystore, id, "x")],
    ["revocations", "seal", (log, id) => log.revoke(world.keystore, id, "x", false)],
    [
      "replacements",
      "binding",
      (log) => log.replace(world.keystore, { purpose: "binding", role: null }, "x"),
    ],
  ])("that are %s: one is told that another was quicker", async (_, purpose, change) => {
    const logs = [await another(), await another()];
    const keyId = world.keyIdOf(purpose);
    const ends = await Promise.allSettled(logs.map((log) => change(log, keyId)));
    const failed = ends.flatMap((end) =>
      end.status === "rejected" ? [end.reason as unknown] : [],
    );
    expect(failed).toMatchObject([{ code: "ERR_KEY_OVERTAKEN", exitCode: 1 }]);
    await world.keyLog.refresh();
    await world.keyLog.settle(world.keystore);
    const enrolled = new Set(world.keyLog.current().windows.map(({ record }) => record.key_id));
    const files = (await world.keystore.records()).map(({ key_id }) => key_id);
    expect(files.filter((id) => !enrolled.has(id))).toEqual([]);
  });

  it("that would give one person both keys: one is refused", async () => {
    const logs = [await another(), await another()];
    const slots = [
      { purpose: "operator", role: "alice" },
      { purpose: "architect", role: "a-lice" },
    ] as const;
    const ends = await Promise.allSettled(
      logs.map((log, index) => log.introduce(world.keystore, slots[index] ?? slots[0])),
    );
    expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(ends.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { code: "ERR_KEY_HOLDER" },
    });
  });
});

/** A ledger that a kill cuts off from its process, before or after it took the events in. */
class CutStore implements KeyLogStore {
  readonly #persist: boolean;
  constructor(persist: boolean) {
    this.#persist = persist;
  }
  read(from: number): ReturnType<KeyLogStore["read"]> {
    return world.log.read(from);
  }
  async append(sequence: number, events: readonly NewKeyEvent[]): Promise<boolean> {
    if (this.#persist) await world.log.append(sequence, events);
    throw new Error("killed");
  }
}

describe("a command that is killed", () => {
  const CHANGES: readonly [string, (log: KeyLog) => Promise<KeyRecord>][] = [
    ["add", (log) => log.introduce(world.keystore, { purpose: "role", role: "new" })],
    ["rotate", (log) => log.rotate(world.keystore, nowOf("seal"), "x")],
    ["revoke", (log) => log.revoke(world.keystore, nowOf("seal"), "x", false)],
    ["replace", (log) => log.replace(world.keystore, { purpose: "seal", role: null }, "x")],
    ["rotate root", (log) => log.rotate(world.keystore, nowOf("root"), "x")],
  ];

  it.each(CHANGES)("in %s leaves a state from which the next one goes on", async (_, change) => {
    for (const persist of [false, true]) {
      const cut = change(await another(new CutStore(persist)));
      await expect(cut).rejects.toThrow("killed");
      // The next process: it opens what is there, and settles what was left.
      const keystore = await Keystore.open({ folder: folder(), passphrase: null });
      const next = await another();
      await next.settle(keystore);
      const enrolled = next.current().windows.map(({ record }) => record.key_id);
      const pending = readdirSync(folder()).filter((name) => name.endsWith(".pending"));
      expect(
        pending.filter((name) => enrolled.some((id) => name.includes(id.slice(0, 16)))),
      ).toEqual([]);
      const seal = await next.replace(keystore, { purpose: "seal", role: null }, "goes on");
      await keystore.signer(seal.key_id);
      await next.introduce(keystore, { purpose: "role", role: persist ? "b" : "a" });
      await world.keyLog.refresh();
    }
  });
});

describe("a key that another process ends while this one runs", () => {
  it("is refused at once, and the one in its place signs", async () => {
    const { keystore, keyLog, recorder } = world;
    const kernel = world.kernel();
    const context = world.context();
    const before = await world.permission(TRAIN, context);
    const other = await another();
    await other.replace(keystore, { purpose: "binding", role: null }, "stolen");
    const request = { action: TRAIN, context, approvals: [], signal: AbortSignal.timeout(9000) };
    expect(await kernel.execute({ ...request, authorization: before })).toMatchObject({
      status: "BLOCKED",
      code: "ERR_BINDING_KEY_REVOKED",
    });
    expect(keyLog.current().count).toBe(other.current().count);
    const again = await world.permission(TRAIN, context);
    const outcome = await kernel.execute({ ...request, authorization: again });
    expect(outcome.status).toBe("COMPLETED");
    expect(recorder.events).toContain("execution.blocked");
  });
});
