import {
  canonicalBytes,
  digestOf,
  type Envelope,
  INSTALLATION_LOG,
  type JsonObject,
  type JsonValue,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import { afterEach, describe, expect, it } from "vitest";
import { createEntry, EMPTY_STREAM, type StoredEntry } from "../../../src/ledger/index.ts";
import { NodeWatch, type Place } from "../../../src/installation/nodes/order-watch.ts";
import { ScramKeys, signOrder } from "../../support/scram-keys.ts";
import { TestClock } from "../../support/world.ts";

const HERE = `nod_${"h".repeat(20)}`;
const THERE = `nod_${"t".repeat(20)}`;
const keys = new ScramKeys();
const order = signOrder(keys.order(), keys.operator, keys.architect);

/** A log in memory; each entry is a stream of its own, which the watch does not mind. */
class TestLog {
  entries: StoredEntry[] = [];
  readonly envelopes = new Map<string, Uint8Array>();
  down = false;
  reads = 0;
  onNews: () => void = () => undefined;

  add(stream: string, eventType: string, data: JsonObject): StoredEntry {
    const { bytes, hash } = createEntry(EMPTY_STREAM, {
      stream,
      tenantId: INSTALLATION_LOG,
      runId: null,
      timestamp: "2026-06-01T12:00:00.000Z",
      eventType,
      severity: "INFO",
      data,
    });
    const stored = { index: this.entries.length, hash, bytes };
    this.entries.push(stored);
    return stored;
  }

  addStop(node: string, envelope: Envelope, passed = ["INV-SCRAM-002"]): StoredEntry {
    const digest = digestOf(envelope);
    this.envelopes.set(digest, canonicalBytes(envelope));
    return this.add(`scram/${node}`, "scram.executed", {
      event: { invariants_passed: passed },
      envelopes: { order: digest },
    });
  }

  read(from: number): Promise<StoredEntry[]> {
    this.reads += 1;
    if (this.down) return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "away"));
    return Promise.resolve(this.entries.filter(({ index }) => index >= from).slice(0, 500));
  }

  readEnvelope(digest: string): Promise<Uint8Array | null> {
    return Promise.resolve(this.envelopes.get(digest) ?? null);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const open: NodeWatch[] = [];
afterEach(async () => {
  for (const watch of open.splice(0)) await watch.close();
});

/** The node's own stream, of which this node wrote everything, or nothing. */
class TestOwn {
  writes = true;
  /** What was asked of it; fails while this is set. */
  readonly secured: boolean[] = [];
  failure: Error | null = null;

  wrote(): boolean {
    return this.writes;
  }

  secure(setBack: boolean): Promise<void> {
    this.secured.push(setBack);
    return this.failure === null ? Promise.resolve() : Promise.reject(this.failure);
  }
}

function watched(
  log: TestLog,
  place: Place | null = null,
  own = new TestOwn(),
): {
  watch: NodeWatch;
  said: JsonObject[];
  clock: TestClock;
  keys: () => number;
} {
  const said: JsonObject[] = [];
  const clock = new TestClock();
  let refreshed = 0;
  const [joined] = log.entries as [StoredEntry];
  const watch = new NodeWatch({
    node: { id: HERE, stream: `scram/${HERE}`, joined: { at: "", ...joined } },
    link: {
      request: (message) => {
        said.push(message);
        return Promise.resolve({});
      },
    },
    clock,
    leaseMs: 2000,
    feed: (onNews) => {
      log.onNews = onNews;
      return log;
    },
    place,
    keep: () => undefined,
    onKeys: () => {
      refreshed += 1;
      return Promise.resolve();
    },
    onRead: () => undefined,
    onRefused: () => undefined,
    own,
  });
  open.push(watch);
  return { watch, said, clock, keys: () => refreshed };
}

function joinedLog(): TestLog {
  const log = new TestLog();
  log.add("nodes", "node.joined", {});
  return log;
}

describe("the watch over other nodes", () => {
  it("hands over what they stopped with two keys, before it renews the lease", async () => {
    const log = joinedLog();
    log.addStop(THERE, order);
    log.addStop(HERE, order);
    log.addStop(THERE, signOrder(keys.order(), keys.stranger), []);
    log.add(`scram/${THERE}`, "sentinel.started", {});
    const { watch, said } = watched(log);
    await watch.start();
    expect(said.slice(0, 2)).toMatchObject([
      { t: "peer", envelope: order, origin: { node_id: THERE, index: 1 } },
      { t: "lease" },
    ]);
    expect(said.filter(({ t }) => t === "peer")).toHaveLength(1);
  });

  it("renews from when it began to read", async () => {
    const log = joinedLog();
    const { watch, said, clock } = watched(log);
    const before = clock.monotonicMs();
    const read = log.read.bind(log);
    log.read = (from) => {
      clock.ms += 700;
      return read(from);
    };
    await watch.start();
    expect(said[0]).toEqual({ t: "lease", read_at: before });
  });

  it("reads on from where it stands, and begins again where the log was set back", async () => {
    const log = joinedLog();
    log.addStop(THERE, order);
    const last = log.add("keys", "key.introduced", {});
    const on = watched(log, last);
    await on.watch.start();
    expect(on.said.map(({ t }) => t)).toEqual(["lease"]);
    const other = watched(log, { index: 2, hash: "0".repeat(64) });
    await other.watch.start();
    expect(other.said.map(({ t }) => t)).toEqual(["peer", "lease"]);
    expect(other.keys()).toBe(1);
  });

  it("takes an order of its own stream that it did not write for an order, and an alarm", async () => {
    const log = joinedLog();
    log.addStop(HERE, order);
    const own = new TestOwn();
    own.writes = false;
    const { watch, said } = watched(log, null, own);
    await expect(watch.start()).rejects.toMatchObject({ code: "ERR_NODE_CLONED" });
    expect(said).toMatchObject([{ t: "peer", envelope: order, origin: { node_id: HERE } }]);
  });

  it("counts as cut off until the log that was set back holds its journal again", async () => {
    const log = joinedLog();
    log.add(`scram/${HERE}`, "sentinel.started", {});
    log.addStop(THERE, order);
    const own = new TestOwn();
    const { watch, said } = watched(log, null, own);
    await watch.start();
    expect(own.secured).toEqual([false]);
    const before = said.length;
    own.failure = new SovereignError("ERR_STREAM_CONFLICT", "not yet");
    log.entries.length = 1;
    log.onNews();
    await until(() => own.secured.length > 1);
    expect(own.secured.at(-1)).toBe(true);
    expect(said).toHaveLength(before);
    own.failure = null;
    log.onNews();
    await until(() => said.length > before);
    expect(said.at(-1)).toMatchObject({ t: "lease" });
  });

  it("reads long logs to their end before it renews", async () => {
    const log = joinedLog();
    for (let more = 0; more < 1200; more++) log.add(`scram/${THERE}`, "sentinel.started", {});
    log.addStop(THERE, order);
    const { watch, said } = watched(log);
    await watch.start();
    expect(said.map(({ t }) => t)).toEqual(["peer", "lease"]);
  });

  it.each<[string, string, (log: TestLog) => void]>([
    ["its joining is gone", "ERR_NODE_UNKNOWN", (log) => (log.entries = [])],
    ["an entry is missing", "ERR_LEDGER_CORRUPT", (log) => log.entries.splice(1, 1)],
    ["an entry was edited", "ERR_LEDGER_CORRUPT", edit],
    [
      "an order is missing",
      "ERR_LEDGER_CORRUPT",
      (log) => {
        log.envelopes.clear();
      },
    ],
    ["the database is away", "ERR_STORE_UNAVAILABLE", (log) => (log.down = true)],
  ])("renews nothing while %s", async (_, code, breakIt) => {
    const log = joinedLog();
    log.addStop(THERE, order);
    log.add(`scram/${THERE}`, "sentinel.started", {});
    const { watch, said } = watched(log);
    breakIt(log);
    await expect(watch.start()).rejects.toMatchObject({ code });
    expect(said.filter(({ t }) => t === "lease")).toEqual([]);
  });

  it("goes on when the database is back, and says meanwhile why not", async () => {
    const log = joinedLog();
    const { watch, said } = watched(log);
    await watch.start();
    expect(watch.failure).toBeNull();
    log.down = true;
    log.onNews();
    await until(() => watch.failure !== null);
    expect(watch.failure).toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    log.addStop(THERE, order);
    log.down = false;
    await until(() => watch.failure === null);
    expect(said.map(({ t }) => t)).toContain("peer");
  });
});

function edit(log: TestLog): void {
  const stored = log.entries[1] as StoredEntry;
  const entry = parseCanonicalJson(stored.bytes) as JsonObject;
  const data: JsonValue = { event: {} };
  log.entries[1] = { ...stored, bytes: canonicalBytes({ ...entry, data }) };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
