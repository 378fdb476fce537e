import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Envelope, type ScramOrder, type Signer } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Journal } from "../../src/scram/index.ts";
import { NetworkOrders } from "../../src/sentinel/network-orders.ts";
import { OrderDesk } from "../../src/sentinel/order-desk.ts";
import { INSTALLATION, NOW, ScramKeys, signOrder, signReset } from "../support/scram-keys.ts";
import { TestClock } from "../support/world.ts";

let folder: string;
let clock: TestClock;
let journal: Journal;
let keys: ScramKeys;
let desk: OrderDesk;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-network-"));
  clock = new TestClock();
  clock.ms = Date.parse(NOW);
  keys = new ScramKeys();
  restart();
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** What a sentinel that starts anew knows: the journal, and no more. */
function restart(): void {
  journal = Journal.open(join(folder, "journal.jsonl"));
  const known = { installationId: INSTALLATION, keys: keys.table, times: [] };
  desk = new OrderDesk({ keys: () => known, clock, journal, windowMs: 30_000 });
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const at = (offset: number): string => new Date(Date.parse(NOW) + offset).toISOString();

interface Case {
  readonly order?: Partial<ScramOrder>;
  readonly sign?: () => Signer[];
  readonly change?: (envelope: Envelope) => Envelope;
}

function envelopeOf({ order = {}, sign, change = (same) => same }: Case): Envelope {
  const { operator, architect } = keys;
  return change(signOrder(keys.order(order), ...(sign?.() ?? [operator, architect])));
}

function judged(envelope: Envelope): string {
  const decision = desk.receive(envelope, "network", 0);
  if (decision.kind === "refuse") return decision.code;
  if (decision.kind === "pending") return `waits for ${decision.missing}`;
  const { authorized, scope } = decision.activation;
  return `${authorized ? "stops" : "stops in doubt"} ${scope.kind}`;
}

function broken({ signatures, ...rest }: Envelope): Envelope {
  const [first, second] = signatures;
  if (first === undefined || second === undefined) throw new Error("expected two signatures");
  return { ...rest, signatures: [first, { ...second, sig: first.sig }] };
}

const revoked = (signer: Signer, purpose: "operator" | "architect"): Signer => {
  keys.revoke(signer, purpose);
  return signer;
};

describe("an order from a network", () => {
  const one = { scope: { kind: "tenant", tenant_id: "acme" } } as const;
  it.each<[string, Case, string]>([
    ["with both keys", {}, "stops all"],
    ["with both keys, for one tenant", { order: one }, "stops tenant"],
    ["prepared long ago, in its time", { order: { issued_at: at(-9 * HOUR) } }, "stops all"],
    // Strangers, whatever else is wrong.
    ["by a stranger", { sign: () => [keys.stranger] }, "ERR_SCRAM_ORDER_STRANGER"],
    [
      "by a stranger, expired, for another installation",
      {
        sign: () => [keys.stranger],
        order: { expires_at: at(-1), installation_id: `ins_${"x".repeat(20)}` },
      },
      "ERR_SCRAM_ORDER_STRANGER",
    ],
    [
      "by a stranger who names our keys",
      {
        sign: () => [keys.stranger],
        change: (envelope) => ({
          ...envelope,
          signatures: envelope.signatures.map(({ sig }) => ({
            keyid: keys.operator.publicKey.keyId,
            sig,
          })),
        }),
      },
      "ERR_SCRAM_ORDER_STRANGER",
    ],
    [
      "by keys that it does not name",
      {
        change: (envelope) => ({
          ...envelope,
          signatures: envelope.signatures.map(({ sig }) => ({ keyid: "", sig })),
        }),
      },
      "ERR_SCRAM_ORDER_STRANGER",
    ],
    [
      "by revoked keys alone",
      { sign: () => [revoked(keys.operator, "operator"), revoked(keys.architect, "architect")] },
      "ERR_SCRAM_ORDER_STRANGER",
    ],
    [
      "by an expired key alone",
      { sign: () => [keys.enrol("operator", at(-MINUTE))] },
      "ERR_SCRAM_ORDER_STRANGER",
    ],
    [
      "whose content was changed",
      { change: (envelope) => ({ ...envelope, payloadType: "application/other" }) },
      "ERR_SCRAM_ORDER_STRANGER",
    ],
    // One person.
    ["by an operator", { sign: () => [keys.operator] }, "waits for architect"],
    ["by an architect", { sign: () => [keys.architect] }, "waits for operator"],
    ["by one key twice", { sign: () => [keys.operator, keys.operator] }, "waits for architect"],
    ["with a second signature that is broken", { change: broken }, "waits for architect"],
    [
      "with a second signature that is no base64",
      {
        change: ({ signatures: [first], ...rest }) => ({
          ...rest,
          signatures: [{ keyid: "", sig: "" }, { keyid: "", sig: "*" }, first].flatMap(
            (signature) => signature ?? [],
          ),
        }),
      },
      "waits for architect",
    ],
    [
      "with a stranger's second signature",
      { sign: () => [keys.operator, keys.stranger] },
      "waits for architect",
    ],
    // Two people, who failed.
    [
      "by two operators",
      { sign: () => [keys.operator, keys.secondOperator], order: one },
      "stops in doubt all",
    ],
    [
      "with a revoked second key",
      { sign: () => [keys.operator, revoked(keys.architect, "architect")] },
      "stops in doubt all",
    ],
    [
      "with an expired second key",
      { sign: () => [keys.operator, keys.enrol("architect", at(-MINUTE))] },
      "stops in doubt all",
    ],
    [
      "that expired a moment ago",
      { order: { issued_at: at(-10 * MINUTE), expires_at: at(-1) } },
      "stops in doubt all",
    ],
    [
      "of somebody whose clock is fast",
      { order: { issued_at: at(10 * MINUTE), expires_at: at(15 * MINUTE) } },
      "stops in doubt all",
    ],
    // What proves nothing about now and here.
    [
      "that expired long ago",
      { order: { issued_at: at(-9 * HOUR), expires_at: at(-2 * HOUR) } },
      "ERR_SCRAM_ORDER_EXPIRED",
    ],
    [
      "by one, that expired a moment ago",
      {
        sign: () => [keys.operator],
        order: { issued_at: at(-10 * MINUTE), expires_at: at(-1) },
      },
      "ERR_SCRAM_ORDER_EXPIRED",
    ],
    [
      "for another installation",
      { order: { installation_id: `ins_${"x".repeat(20)}` } },
      "ERR_SCRAM_ORDER_INSTALLATION",
    ],
    [
      "with more signatures than an order has",
      {
        sign: () => [keys.operator, ...[1, 2, 3].map(() => keys.stranger), keys.architect],
      },
      "ERR_SCRAM_ORDER_MALFORMED",
    ],
  ])("%s", (_, order, expected) => {
    expect(judged(envelopeOf(order))).toBe(expected);
  });

  it("is a reset: refused, whoever signed it", () => {
    const reset = signReset(keys.reset(), keys.operator, keys.architect);
    expect(judged(reset)).toBe("ERR_SCRAM_ORDER_MALFORMED");
  });

  it("tells nobody but its signers what this installation is", () => {
    const decision = desk.receive(
      envelopeOf({ order: { installation_id: `ins_${"x".repeat(20)}` } }),
      "network",
      0,
    );
    expect(JSON.stringify(decision)).not.toContain(INSTALLATION);
  });

  it("is by strangers where no key is enrolled", () => {
    desk = new OrderDesk({ keys: () => null, clock, journal, windowMs: 1 });
    expect(judged(envelopeOf({}))).toBe("ERR_SCRAM_ORDER_STRANGER");
  });
});

describe("an order that was here before", () => {
  /** Both signed it, and an eavesdropper has each half, and the whole. */
  function captured(): { whole: Envelope; first: Envelope; second: Envelope } {
    const { operator, architect } = keys;
    const order = keys.order();
    return {
      whole: signOrder(order, operator, architect),
      first: signOrder(order, operator),
      second: signOrder(order, architect),
    };
  }

  it("stops nothing again, in no part, nor after a restart", () => {
    const { whole, first, second } = captured();
    expect(judged(whole)).toBe("stops all");
    journal.append("scram.activated", NOW, { nonce: keys.order().nonce });
    for (const bytes of [whole, first, second, broken(whole)]) {
      expect(judged(bytes)).toBe("ERR_SCRAM_ORDER_REPLAYED");
    }
    restart();
    clock.ms += 10 * MINUTE;
    for (const bytes of [whole, first, second, broken(whole)]) {
      expect(judged(bytes)).toBe("ERR_SCRAM_ORDER_REPLAYED");
    }
  });

  it("by one signer waits on, and its time gets no longer", () => {
    const { first, whole } = captured();
    expect(judged(first)).toBe("waits for architect");
    clock.ms += 29_000;
    expect(judged(first)).toBe("waits for architect");
    expect(judged(broken(whole))).toBe("waits for architect");
    clock.ms += 2_000;
    expect(judged(first)).toBe("ERR_SCRAM_ORDER_REPLAYED");
    expect(desk.waiting).toBe(false);
  });

  it("by one signer never waits again, also after a restart, nor stops when it has expired", async () => {
    const { first } = captured();
    await present(first);
    restart();
    expect(judged(first)).toBe("ERR_SCRAM_ORDER_REPLAYED");
    clock.ms += 6 * MINUTE;
    expect(judged(first)).toBe("ERR_SCRAM_ORDER_EXPIRED");
  });

  it("by one signer makes nothing believed that a stolen, revoked key adds", () => {
    const { first, whole } = captured();
    expect(judged(first)).toBe("waits for architect");
    keys.revoke(keys.architect, "architect");
    expect(judged(whole)).toBe("waits for architect");
    clock.ms += 31_000;
    expect(judged(whole)).toBe("ERR_SCRAM_ORDER_REPLAYED");
  });

  it("is set off by both signatures even after the window, in its time", () => {
    const { first, whole } = captured();
    expect(judged(first)).toBe("waits for architect");
    clock.ms += 60_000;
    expect(judged(first)).toBe("ERR_SCRAM_ORDER_REPLAYED");
    expect(judged(whole)).toBe("stops all");
  });

  it("is believed when a second person signs it, and fails", () => {
    expect(judged(captured().first)).toBe("waits for architect");
    expect(judged(signOrder(keys.order(), keys.secondOperator))).toBe("stops in doubt all");
  });
});

describe("orders that wait", () => {
  it("lapse without a record where none can be written, and hinder no order", () => {
    const { operator, architect } = keys;
    expect(judged(signOrder(keys.order(nonce("1")), operator))).toContain("waits");
    rmSync(folder, { recursive: true });
    clock.ms += 31_000;
    expect(judged(signOrder(keys.order(nonce("2")), operator, architect))).toBe("stops all");
    expect(desk.waiting).toBe(false);
  });

  const nonce = (letter: string): Partial<ScramOrder> => ({ nonce: letter.repeat(32) });

  it("take no other's place", () => {
    const { operator, architect } = keys;
    const wanted = keys.order(nonce("1"));
    expect(judged(signOrder(wanted, operator))).toBe("waits for architect");
    for (const letter of "23456789abcdef") {
      expect(judged(signOrder(keys.order(nonce(letter)), keys.secondOperator))).toContain("waits");
    }
    expect(judged(signOrder(wanted, architect))).toBe("stops all");
  });

  it("wait no longer when what their signers asked for is done, and only then", () => {
    const { operator, architect } = keys;
    const acme = { kind: "tenant", tenant_id: "acme" } as const;
    const sign = (letter: string, change: Partial<ScramOrder>, ...by: Signer[]): Envelope =>
      signOrder(keys.order({ nonce: letter.repeat(32), ...change }), ...by);
    expect(judged(sign("1", {}, architect))).toBe("waits for operator");
    expect(judged(sign("2", { scope: acme }, architect))).toBe("waits for operator");
    expect(judged(sign("3", {}, keys.secondOperator))).toBe("waits for architect");
    // A stop of one tenant does not make anybody forget the order to stop everything.
    expect(judged(sign("4", { scope: acme }, operator, architect))).toBe("stops tenant");
    expect(judged(sign("1", {}, operator))).toBe("stops all");
    expect(desk.waiting).toBe(true);
    expect(judged(sign("3", {}, architect))).toBe("stops all");
    expect(desk.waiting).toBe(false);
  });

  it("are shown to those for whom they wait, and to no others", () => {
    const { operator, architect, secondOperator } = keys;
    const mine = signOrder(keys.order(nonce("1")), operator);
    desk.receive(mine, "network", 0);
    const shown = (envelope: Envelope): readonly Envelope[] => {
      const decision = desk.receive(envelope, "network", 0);
      return decision.kind === "pending" ? decision.others : [];
    };
    expect(shown(signOrder(keys.order(nonce("2")), secondOperator))).toEqual([]);
    const found = shown(signOrder(keys.order(nonce("3")), architect));
    expect(found).toHaveLength(2);
    expect(found[0]).toEqual(mine);
  });

  it("may have one signature from the socket, and one from a network", () => {
    const { operator, architect } = keys;
    const order = keys.order();
    const local = desk.authorize(signOrder(order, operator), "local", 0);
    expect(local.kind).toBe("pending");
    expect(judged(signOrder(order, architect))).toBe("stops all");
  });
});

function network(): NetworkOrders {
  const activate = (): Promise<never> => Promise.reject(new Error("no stop was expected"));
  return new NetworkOrders({ desk, clock, journal, activate });
}

async function present(envelope: Envelope, door = network()): Promise<unknown> {
  const message = { t: "present", id: 0, envelope, from: "192.0.2.1" } as const;
  return door.present(message, 0).catch((error: unknown) => error);
}

describe("what a network can write into the journal", () => {
  it("is a hundred refusals of strangers, and then one an hour with the count", async () => {
    const door = network();
    const garbage = envelopeOf({ sign: () => [keys.stranger] });
    for (let times = 0; times < 500; times++) await present(garbage, door);
    expect(journal.lines).toHaveLength(100);
    clock.ms += HOUR;
    await present(garbage, door);
    door.refusals({ t: "refusals", id: 1, code: "ERR_SCRAM_ORDER_MALFORMED", from: "x", count: 7 });
    expect(journal.lines).toHaveLength(101);
    expect(journal.lines.at(-1)?.data).toMatchObject({ left_out: 400, from: "192.0.2.1" });
    clock.ms += HOUR;
    door.refusals({ t: "refusals", id: 2, code: "ERR_SCRAM_ORDER_MALFORMED", from: "x", count: 5 });
    expect(journal.lines.at(-1)?.data).toMatchObject({ left_out: 11 });
  });

  it("is one line for an order that waits, however often it is sent", async () => {
    const door = network();
    const half = envelopeOf({ sign: () => [keys.operator] });
    for (let times = 0; times < 50; times++) await present(half, door);
    expect(journal.lines.map(({ event }) => event)).toEqual(["authorization.pending"]);
  });

  it("leaves room for what authenticated people do", async () => {
    const door = network();
    for (let times = 0; times < 200; times++) {
      await present(envelopeOf({ sign: () => [keys.stranger] }), door);
    }
    await present(envelopeOf({ order: { installation_id: `ins_${"x".repeat(20)}` } }), door);
    expect(journal.lines.at(-1)?.data).toMatchObject({ code: "ERR_SCRAM_ORDER_INSTALLATION" });
  });
});
