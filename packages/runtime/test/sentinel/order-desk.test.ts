import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, type Envelope, type JsonValue } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Journal } from "../../src/scram/index.ts";
import { OrderDesk, type PeerOrder } from "../../src/sentinel/order-desk.ts";
import {
  BEFORE,
  INSTALLATION,
  NOW,
  ScramKeys,
  signOrder,
  signReset,
} from "../support/scram-keys.ts";
import { TestClock } from "../support/world.ts";

let folder: string;
let clock: TestClock;
let journal: Journal;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-desk-"));
  clock = new TestClock();
  clock.ms = Date.parse(NOW);
  journal = Journal.open(join(folder, "journal.jsonl"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const keys = new ScramKeys();
const { operator, architect, secondOperator } = keys;

function desk(): OrderDesk {
  const times = Array.from({ length: keys.table.count }, () => BEFORE);
  const known = { installationId: INSTALLATION, keys: keys.table, times };
  return new OrderDesk({ keys: () => known, clock, journal, windowMs: 30_000 });
}

const asValue = (envelope: Envelope): JsonValue => envelope;

describe("the desk", () => {
  it("sets off an order with both keys, for the scope that it names", () => {
    const order = keys.order({ scope: { kind: "tenant", tenant_id: "acme" } });
    const decision = desk().receive(asValue(signOrder(order, operator, architect)), "local", 0);
    expect(decision).toMatchObject({
      kind: "activate",
      activation: { authorized: true, scope: { tenant_id: "acme" }, trigger: "order" },
    });
  });

  it("takes a failed authorisation as a reason to stop everything", () => {
    const narrow = keys.order({ scope: { kind: "tenant", tenant_id: "acme" } });
    const badly = asValue(signOrder(narrow, operator, secondOperator));
    const decision = desk().receive(badly, "local", 0);
    expect(decision).toMatchObject({
      kind: "activate",
      activation: { authorized: false, scope: { kind: "all" } },
    });
    if (decision.kind !== "activate") return;
    expect(decision.activation.refusal).toContain("ERR_SCRAM_ORDER_SIGNATURE");
  });

  it("stops everything for one person who signs twice, and says that two were expected", () => {
    const people = new ScramKeys();
    const pair = [people.enrol("operator", null, "eve"), people.enrol("architect", null, "e-ve")];
    const times = Array.from({ length: people.table.count }, () => BEFORE);
    const known = { installationId: INSTALLATION, keys: people.table, times };
    const fresh = (): OrderDesk =>
      new OrderDesk({ keys: () => known, clock, journal, windowMs: 30_000 });
    const both = asValue(signOrder(people.order(), ...pair));
    const [first, second] = pair.map((signer) => asValue(signOrder(people.order(), signer)));
    const local = fresh();
    expect(local.authorize(first ?? null, "local", 0)).toMatchObject({ kind: "pending" });
    for (const decision of [
      fresh().receive(both, "local", 0),
      local.authorize(second ?? null, "local", 0),
    ]) {
      expect(decision).toMatchObject({
        kind: "activate",
        activation: { authorized: false, scope: { kind: "all" } },
      });
      if (decision.kind !== "activate") return;
      expect(decision.activation.refusal).toContain("ERR_SCRAM_ORDER_HOLDER: eve signed as");
    }
    // Over a network one person stops nothing: the order waits for the other.
    expect(fresh().receive(both, "network", 0)).toMatchObject({ kind: "pending" });
    const reset = asValue(signReset(people.reset(), ...pair));
    expect(() => fresh().reset(reset)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_ORDER_HOLDER" }),
    );
  });

  it.each<[string, JsonValue]>([
    ["a number", 7],
    ["an envelope without signatures", { payload: "", payloadType: "x", signatures: [] }],
    ["a reset", asValue(signReset(keys.reset(), operator, architect))],
  ])("refuses what is no order: %s", (_, value) => {
    expect(desk().receive(value, "local", 0)).toMatchObject({
      kind: "refuse",
      code: "ERR_SCRAM_ORDER_MALFORMED",
    });
  });

  it("believes an attempt whose signature is no base64, and refuses what says nothing", () => {
    const envelope = signOrder(keys.order(), operator, architect);
    const signatures = [...envelope.signatures.slice(0, 1), { keyid: "", sig: "not base64!" }];
    const decision = desk().receive(asValue({ ...envelope, signatures }), "local", 0);
    expect(decision).toMatchObject({ kind: "activate", activation: { authorized: false } });
    const nothing = desk().receive(asValue({ ...envelope, payload: "%" }), "local", 0);
    expect(nothing).toMatchObject({ kind: "refuse", code: "ERR_SCRAM_ORDER_MALFORMED" });
  });

  it("refuses an order that was used before, also after a restart", () => {
    const envelope = asValue(signOrder(keys.order(), operator, architect));
    const first = desk();
    expect(first.receive(envelope, "local", 0).kind).toBe("activate");
    const again = { kind: "refuse", code: "ERR_SCRAM_ORDER_REPLAYED" };
    expect(first.receive(envelope, "local", 0)).toMatchObject(again);
    journal.append("scram.activated", NOW, { nonce: keys.order().nonce });
    journal = Journal.open(join(folder, "journal.jsonl"));
    expect(desk().receive(envelope, "local", 0)).toMatchObject(again);
  });

  it("holds the first signature for the second, and then sets the order off", () => {
    const one = desk();
    const order = keys.order();
    expect(one.authorize(asValue(signOrder(order, operator)), "local", 0)).toMatchObject({
      kind: "pending",
      missing: "architect",
    });
    expect(one.waiting).toBe(true);
    clock.ms += 29_000;
    expect(one.authorize(asValue(signOrder(order, architect)), "local", 0)).toMatchObject({
      kind: "activate",
      activation: { authorized: true },
    });
  });

  it("lets the first signature lapse, and records that", () => {
    const one = desk();
    const order = keys.order();
    one.authorize(asValue(signOrder(order, operator)), "local", 0);
    clock.ms += 31_000;
    expect(one.waiting).toBe(false);
    expect(journal.lines.map(({ event }) => event)).toEqual(["authorization.lapsed"]);
    expect(one.authorize(asValue(signOrder(order, architect)), "local", 0)).toMatchObject({
      kind: "pending",
      missing: "operator",
    });
  });

  it("resets by both keys, and by nothing less", () => {
    const good = asValue(signReset(keys.reset(), operator, architect));
    expect(desk().reset(good).reset.statement).toBe("all clear");
    for (const [value, code] of [
      [asValue(signReset(keys.reset(), operator)), "ERR_SCRAM_ORDER_SIGNATURE"],
      [asValue(signOrder(keys.order(), operator, architect)), "ERR_SCRAM_ORDER_MALFORMED"],
      ["nothing", "ERR_SCRAM_ORDER_MALFORMED"],
    ] as const) {
      expect(() => desk().reset(value)).toThrow(expect.objectContaining({ code }));
    }
  });

  it("stops for an order where no key is enrolled, and resets for none", () => {
    const bare = new OrderDesk({ keys: () => null, clock, journal, windowMs: 1 });
    const order = asValue(signOrder(keys.order(), operator, architect));
    expect(bare.receive(order, "local", 0)).toMatchObject({
      kind: "activate",
      activation: { authorized: false },
    });
    const reset = asValue(signReset(keys.reset(), operator, architect));
    expect(() => bare.reset(reset)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_ORDER_SIGNATURE" }),
    );
  });
});

describe("an order that another node carried out", () => {
  const origin = { node_id: `nod_${"o".repeat(20)}`, index: 7 };
  const peer = (value: JsonValue, at = NOW): PeerOrder => ({ value, at, origin });
  const good = asValue(signOrder(keys.order(), operator, architect));

  it("is carried out here, once, also after a restart, and however late", () => {
    const one = desk();
    clock.ms += 24 * 3_600_000;
    expect(one.receivePeer(peer(good), 3)).toMatchObject({
      kind: "activate",
      activation: { trigger: "peer", origin, authorized: true, receivedAt: 3 },
    });
    expect(one.receivePeer(peer(good), 0)).toEqual({ kind: "known" });
    journal.append("scram.activated", NOW, { nonce: keys.order().nonce });
    expect(desk().receivePeer(peer(good), 0)).toEqual({ kind: "known" });
  });

  it("is none when it had lapsed when it was carried out", () => {
    const late = desk().receivePeer(peer(good, "2026-06-02T12:00:00.000Z"), 0);
    expect(late).toMatchObject({ kind: "refuse", code: "ERR_SCRAM_ORDER_EXPIRED" });
  });

  it.each<[string, JsonValue, string]>([
    ["one key", asValue(signOrder(keys.order(), operator)), "ERR_SCRAM_ORDER_SIGNATURE"],
    ["a stranger", asValue(signOrder(keys.order(), keys.stranger)), "ERR_SCRAM_ORDER_SIGNATURE"],
    [
      "another installation",
      asValue(signOrder(keys.order({ installation_id: `ins_${"x".repeat(20)}` }), operator)),
      "ERR_SCRAM_ORDER_INSTALLATION",
    ],
    ["nothing readable", "bm90IGpzb24=", "ERR_SCRAM_ORDER_MALFORMED"],
  ])("with %s stops nothing, and is refused once", (_, value, code) => {
    const one = desk();
    expect(one.receivePeer(peer(value), 0)).toMatchObject({ kind: "refuse", code });
    expect(one.receivePeer(peer(value), 0)).toEqual({ kind: "known" });
    journal.append("order.refused", NOW, { code, peer_digest: digestOf(value) });
    expect(desk().receivePeer(peer(value), 0)).toEqual({ kind: "known" });
  });

  it("counts by a key that was withdrawn since, and not by one that had been before", () => {
    const own = new ScramKeys();
    const before = own.table.count;
    own.revoke(own.operator, "operator");
    const times = [...Array.from({ length: before }, () => BEFORE), NOW];
    const known = { installationId: INSTALLATION, keys: own.table, times };
    const order = asValue(signOrder(own.order(), own.operator, own.architect));
    const fresh = (): OrderDesk =>
      new OrderDesk({ keys: () => known, clock, journal, windowMs: 1 });
    const earlier = peer(order, "2026-06-01T11:59:59.000Z");
    expect(fresh().receivePeer(earlier, 0)).toMatchObject({ kind: "activate" });
    const after = fresh().receivePeer(peer(order, NOW), 0);
    expect(after).toMatchObject({ kind: "refuse", code: "ERR_SCRAM_ORDER_KEY" });
  });
});
