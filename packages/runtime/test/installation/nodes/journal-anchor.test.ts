import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  digestOf,
  INSTALLATION_LOG,
  type JsonObject,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CommitItem, CommitVerdict } from "../../../src/ledger/index.ts";
import { AnchorDuty, anchorInstallation } from "../../../src/installation/nodes/journal-anchor.ts";
import { Journal } from "../../../src/scram/index.ts";
import { MemoryStore } from "../../support/memory-store.ts";

const AT = "2026-06-01T12:00:00.000Z";
const node = { stream: `scram/nod_${"n".repeat(20)}` };
let scram: string;
let journal: Journal;
let store: SharedStore;
beforeEach(() => {
  scram = mkdtempSync(join(tmpdir(), "sov-anchor-"));
  journal = Journal.open(join(scram, "journal.jsonl"));
  store = new SharedStore();
});
afterEach(() => {
  rmSync(scram, { recursive: true, force: true });
});

/** The store in memory, as one that other nodes use. */
class SharedStore extends MemoryStore {
  readonly shared = true;
  announced = 0;
  /** What happens just before a commit. */
  before: (item: CommitItem) => void = () => undefined;

  /** What happens just before it is told. */
  beforeNews: () => void = () => undefined;

  async announce(): Promise<void> {
    this.beforeNews();
    this.announced += 1;
    await Promise.resolve();
  }

  override commit(item: CommitItem): Promise<CommitVerdict> {
    this.before(item);
    return super.commit(item);
  }

  get events(): JsonObject[] {
    const rows = this.logs.get(INSTALLATION_LOG) ?? [];
    return rows.map(({ bytes }) => parseCanonicalJson(bytes) as JsonObject);
  }
}

const anchor = (announce = false): Promise<void> =>
  anchorInstallation(
    {
      folder: { scram },
      store,
      node,
      journal: Journal.open(join(scram, "journal.jsonl")),
    },
    announce,
  );

describe("the journal of a node", () => {
  it("is taken into the node's stream once, and the others are told when there is something", async () => {
    journal.append("sentinel.started", AT, {});
    journal.append("lease.ended", AT, { paths: 3 });
    await anchor();
    await anchor();
    expect(store.announced).toBe(1);
    expect(store.events).toMatchObject([
      { stream: node.stream, event_type: "sentinel.started", severity: "INFO" },
      { stream: node.stream, event_type: "lease.ended", severity: "WARNING", data: { paths: 3 } },
    ]);
  });

  it("goes on where another process of the node took lines at the same time", async () => {
    for (let line = 0; line < 5; line++) journal.append("engine.lost", AT, { line });
    const other: { work: Promise<void> } = { work: Promise.resolve() };
    store.before = () => {
      store.before = () => undefined;
      other.work = anchor();
    };
    await Promise.all([anchor(), other.work]);
    await other.work;
    expect(store.events.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3, 4]);
  });

  it("takes what no entry holds by its digest, with what other nodes need of it", async () => {
    const event = { event_id: "e", invariants_passed: ["INV-SCRAM-002"], metadata: {} };
    const data = { event: { ...event, metadata: { much: "x".repeat(70_000) } }, envelopes: {} };
    journal.append("scram.executed", AT, data);
    journal.append("sentinel.stopped", AT, {});
    await anchor();
    expect(store.events).toMatchObject([
      {
        event_type: "scram.executed",
        data: {
          line_digest: digestOf(data),
          event: { event_id: "e", invariants_passed: ["INV-SCRAM-002"] },
          envelopes: {},
          journal: { sequence: 0 },
        },
      },
      { event_type: "sentinel.stopped" },
    ]);
    await anchor();
  });

  it("gives up if other processes write first each time", async () => {
    journal.append("engine.lost", AT, {});
    store.commit = () =>
      Promise.resolve({ status: "refused", reason: "stream_conflict", detail: "" });
    await expect(anchor()).rejects.toMatchObject({ code: "ERR_STREAM_CONFLICT" });
  });

  it("is not mixed with that of a copy of the node", async () => {
    journal.append("sentinel.started", AT, { pid: 1 });
    await anchor();
    rmSync(journal.path);
    await expect(anchor()).rejects.toMatchObject({ code: "ERR_NODE_CLONED" });
    const copy = Journal.open(journal.path);
    copy.append("sentinel.started", "2026-06-01T12:00:01.000Z", { pid: 2 });
    await expect(anchor()).rejects.toMatchObject({ code: "ERR_NODE_CLONED" });
  });
});

describe("the duty to take it", () => {
  it("tells the others of what an earlier attempt took, and did not tell", async () => {
    journal.append("engine.lost", AT, {});
    store.beforeNews = () => {
      store.beforeNews = () => undefined;
      throw new SovereignError("ERR_STORE_UNAVAILABLE", "away");
    };
    const failures: unknown[] = [];
    const duty = new AnchorDuty(
      () => anchor(true),
      (error) => failures.push(error),
    );
    duty.want();
    await duty.settled();
    expect(store.events).toHaveLength(1);
    expect(store.announced).toBe(0);
    duty.retry();
    await duty.settled();
    expect(store.events).toHaveLength(1);
    expect(store.announced).toBe(1);
    expect(failures).toEqual([expect.objectContaining({ code: "ERR_STORE_UNAVAILABLE" })]);
  });

  it("tries again when it is told to, and once more for what came meanwhile", async () => {
    let tries = 0;
    let away = true;
    const duty = new AnchorDuty(
      () => {
        tries += 1;
        if (away) return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "away"));
        return Promise.resolve();
      },
      () => undefined,
    );
    duty.retry();
    expect(tries).toBe(0);
    duty.want();
    await duty.settled();
    away = false;
    duty.retry();
    duty.want();
    await duty.settled();
    expect(tries).toBe(3);
    duty.retry();
    expect(tries).toBe(3);
  });
});
