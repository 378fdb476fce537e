import {
  digestOf,
  type Envelope,
  GENESIS_HASH,
  KeyLogReplay,
  type KeyTable,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS, KeyLog } from "../../src/authority/index.ts";
import { TRAIN, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

const at = "2026-06-01T00:00:00.000Z";
const refusals = (table: KeyTable, keyId: string): (string | null)[] => {
  const window = table.get(keyId);
  if (window === undefined) throw new Error("no such key");
  return Array.from({ length: table.count + 1 }, (_, epoch) => table.refusal(window, epoch, at));
};

describe("the key log", () => {
  it("gives each key a window of epochs", async () => {
    const keyId = world.keyIdOf("role", "trainer");
    const introduced = world.keyLog.current().get(keyId)?.introduced ?? -1;
    const fresh = await world.keyLog.rotate(world.keystore, keyId, "yearly");
    const table = world.keyLog.current();
    const ended = table.count - 1;
    expect(refusals(table, keyId)[introduced]).toBe("not_introduced");
    expect(refusals(table, keyId)[introduced + 1]).toBeNull();
    expect(refusals(table, keyId)[ended]).toBeNull();
    expect(refusals(table, keyId)[ended + 1]).toBe("ended");
    expect(refusals(table, fresh.key_id)[ended + 1]).toBeNull();
    expect(fresh).toMatchObject({ purpose: "role", role: "trainer" });
  });

  it("holds together whoever changes and reads it at once, in one process and in two", async () => {
    const installation = `ins_${"a".repeat(20)}`;
    const other = new KeyLog(world.log, installation, world.clock);
    await other.refresh();
    const add = (log: KeyLog, role: string): Promise<unknown> =>
      log.introduce(world.keystore, { purpose: "role", role });
    const work = [0, 1, 2].flatMap((at) => [
      add(world.keyLog, `here_${at}`),
      world.keyLog.refresh(),
      add(other, `there_${at}`),
    ]);
    const ends = await Promise.allSettled(work);
    // Who was overtaken too often says so; nobody leaves a log that no process opens any more.
    for (const end of ends) {
      if (end.status === "rejected")
        expect(end.reason).toMatchObject({ code: "ERR_STREAM_CONFLICT" });
    }
    const again = new KeyLog(world.log, installation, world.clock);
    const table = await again.refresh();
    expect(table.count).toBe(world.log.entries.length);
    const roles = table.windows.map(({ record }) => record.role ?? "");
    expect(roles.filter((role) => role.startsWith("here_")).sort()).toEqual([
      "here_0",
      "here_1",
      "here_2",
    ]);
  });

  it("keeps what a revoked key signed before, unless all of it is distrusted", async () => {
    const keyId = world.keyIdOf("binding");
    await world.keyLog.revoke(world.keystore, keyId, "lost", false);
    const epoch = (world.keyLog.current().get(keyId)?.ended ?? 0) - 1;
    expect(refusals(world.keyLog.current(), keyId)[epoch]).toBeNull();
    await world.keyLog.revoke(world.keystore, keyId, "was stolen all along", true);
    expect(new Set(refusals(world.keyLog.current(), keyId))).toEqual(new Set(["distrusted"]));
    await expect(world.keyLog.revoke(world.keystore, keyId, "again", false)).rejects.toMatchObject({
      code: "ERR_KEY_ENDED",
    });
  });

  it("rotates the root: the old one introduces the new one, which signs from then on", async () => {
    await world.keyLog.rotate(world.keystore, world.keyIdOf("root"), "yearly");
    await world.keyLog.introduce(world.keystore, { purpose: "role", role: "newcomer" });
    expect(world.keyLog.trustRoot().root_keys).toHaveLength(2);
    expect(world.keyLog.trustRoot().key_log.count).toBe(world.log.entries.length);
  });

  it("refuses a second beginning, an unknown key, and a signer without a key", async () => {
    await expect(world.keyLog.initialise(world.keystore, INSTALLATION_KEYS)).rejects.toMatchObject({
      code: "ERR_KEYS_EXIST",
    });
    await expect(world.keyLog.rotate(world.keystore, GENESIS_HASH, "x")).rejects.toMatchObject({
      code: "ERR_KEY_NOT_FOUND",
    });
    const context = world.context({ role: "nobody" });
    await expect(world.authority.issueRoleAssignment(TRAIN, context)).rejects.toMatchObject({
      code: "ERR_KEY_NOT_FOUND",
    });
    world.clock.ms -= 86_400_000;
    await expect(
      world.keyLog.introduce(world.keystore, { purpose: "role", role: "early" }),
    ).rejects.toMatchObject({ code: "ERR_KEYS_MISSING" });
  });

  it("keeps its last root key, which may be rotated and then distrusted", async () => {
    const { keyLog, keystore } = world;
    const first = world.keyIdOf("root");
    for (const distrustAll of [false, true]) {
      await expect(keyLog.revoke(keystore, first, "x", distrustAll)).rejects.toMatchObject({
        code: "ERR_KEY_LAST_ROOT",
      });
    }
    await keyLog.rotate(keystore, first, "stolen");
    await keyLog.revoke(keystore, first, "stolen", true);
    expect(keyLog.current().get(first)?.distrustAll).toBe(true);
    await keyLog.introduce(keystore, { purpose: "role", role: "newcomer" });
  });

  it("gives nobody both keys where two people are asked, under whatever spelling", async () => {
    const { keyLog, keystore } = world;
    const operator = { purpose: "operator", role: "alice" } as const;
    const architect = { purpose: "architect", role: "alice" } as const;
    const refused = { code: "ERR_KEY_HOLDER" };
    const before = await keystore.records();
    const both = keyLog.introduceAll(keystore, [operator, architect]);
    await expect(both).rejects.toMatchObject(refused);
    expect(await keystore.records()).toEqual(before);
    const { key_id } = await keyLog.introduce(keystore, operator);
    for (const role of ["alice", "a-lice", "al1ce", "a.l.i.c.e"]) {
      const again = keyLog.introduce(keystore, { purpose: "architect", role });
      await expect(again, role).rejects.toMatchObject(refused);
    }
    const alike = keyLog.introduce(keystore, { purpose: "approval", role: "release-manager" });
    await expect(alike).rejects.toMatchObject(refused);
    await keyLog.introduce(keystore, { purpose: "architect", role: "alice2" });
    await keyLog.revoke(keystore, key_id, "changes sides", false);
    await keyLog.introduce(keystore, architect);
  });

  it("gives nobody a second key unless it is asked for, also where others are quicker", async () => {
    const { keyLog, keystore } = world;
    const refused = { code: "ERR_KEY_IN_FORCE", exitCode: 2 };
    const slot = { purpose: "role", role: "tester" } as const;
    const before = await keystore.records();
    await expect(keyLog.introduceAll(keystore, [slot, slot])).rejects.toMatchObject(refused);
    expect(await keystore.records()).toEqual(before);
    const quicker = new KeyLog(world.log, `ins_${"a".repeat(20)}`, world.clock);
    await quicker.refresh();
    const first = await quicker.introduce(keystore, slot);
    // This one has not heard of it yet.
    await expect(keyLog.introduce(keystore, slot)).rejects.toMatchObject(refused);
    await expect(keyLog.introduce(keystore, slot)).rejects.toThrow(
      /sovereign keys replace role:tester\. .* sovereign keys add --role tester --another/,
    );
    expect(await keystore.records()).toHaveLength(before.length + 1);
    await keyLog.introduce(keystore, slot, { another: true });
    await keyLog.introduce(keystore, { purpose: "root", role: null });
    for (const key of (await keystore.records()).filter(({ role }) => role === "tester")) {
      await keyLog.revoke(keystore, key.key_id, "lost", false);
    }
    const next = await keyLog.introduce(keystore, slot);
    expect(next.key_id).not.toBe(first.key_id);
  });

  it("gives way to others in the end, and keeps no key that was not enrolled", async () => {
    let known = world.log.entries;
    const crowd = { read: () => Promise.resolve(known), append: () => Promise.resolve(false) };
    const crowded = new KeyLog(crowd, `ins_${"a".repeat(20)}`, world.clock);
    await crowded.refresh();
    known = [];
    const before = await world.keystore.records();
    await expect(
      crowded.introduce(world.keystore, { purpose: "role", role: "newcomer" }),
    ).rejects.toMatchObject({ code: "ERR_STREAM_CONFLICT" });
    expect(await world.keystore.records()).toEqual(before);
  });

  it("knows a key by enough of the beginning of its id, and by nothing that fits two", async () => {
    const keyId = world.keyIdOf("role", "trainer");
    const refused = { code: "ERR_KEY_NOT_FOUND" };
    const { keyLog, keystore } = world;
    await expect(keyLog.rotate(keystore, keyId.slice(0, 7), "x")).rejects.toMatchObject(refused);
    await expect(keyLog.rotate(keystore, "", "x")).rejects.toMatchObject(refused);
    await keyLog.rotate(keystore, keyId.slice(0, 8), "x");
    expect(keyLog.current().get(keyId)?.endedBy).toBe("rotated");
  });

  it("takes in nothing that could not be replayed: the log stays whole", async () => {
    const keyId = world.keyIdOf("role", "trainer");
    const { keyLog, keystore, log } = world;
    await keyLog.rotate(keystore, keyId, "yearly");
    const before = log.entries.length;
    const ended = { code: "ERR_KEY_ENDED" };
    await expect(keyLog.rotate(keystore, keyId, "again")).rejects.toMatchObject(ended);
    await expect(keyLog.revoke(keystore, keyId, "again", false)).rejects.toMatchObject(ended);
    const nameless = { purpose: "role", role: null } as const;
    await expect(keyLog.introduce(keystore, nameless)).rejects.toMatchObject({
      code: "ERR_KEY_LOG_INVALID",
    });
    expect(log.entries).toHaveLength(before);
    await keyLog.introduce(keystore, { purpose: "role", role: "newcomer" });
  });

  it("issues no binding for what policy denies", async () => {
    const denied = { ...TRAIN, type: "model.delete" };
    await expect(world.authority.issueBinding(denied, world.context())).rejects.toMatchObject({
      code: "ERR_BINDING_REFUSED",
    });
  });
});

describe("replaying a key log", () => {
  const replay = (change: (envelopes: Envelope[]) => Envelope[]): (() => void) => {
    const entries = world.log.entries;
    const changed = change(entries.map(({ envelope }) => envelope));
    return () => {
      const log = new KeyLogReplay(`ins_${"a".repeat(20)}`);
      for (const [index, envelope] of changed.entries()) {
        log.apply(envelope, entries[index]?.eventType ?? "", at);
      }
    };
  };
  const coded = (code: string): unknown => expect.objectContaining({ code });

  it("accepts what was appended", () => {
    expect(replay((envelopes) => envelopes)).not.toThrow();
  });

  it("refuses events that are dropped, repeated, of another installation or not signed by root", async () => {
    expect(replay((all) => all.filter((_, index) => index !== 3))).toThrow(
      coded("ERR_KEY_LOG_INVALID"),
    );
    expect(replay((all) => [...all.slice(0, 3), ...all.slice(2)])).toThrow(
      coded("ERR_KEY_LOG_INVALID"),
    );
    expect(replay((all) => all.slice(1))).toThrow();
    const other = await World.create();
    const foreign = other.log.entries[1]?.envelope as Envelope;
    other.dispose();
    expect(replay(([first, ...rest]) => [first as Envelope, foreign, ...rest.slice(1)])).toThrow(
      coded("ERR_ENVELOPE_SIGNATURE"),
    );
    expect(digestOf(foreign)).not.toBe(digestOf(world.log.entries[1]?.envelope as Envelope));
  });
});
