import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Keystore } from "../../src/authority/index.ts";
import {
  dataWarnings,
  installationIdOf,
  isShared,
  loadConfig,
  openDataFolder,
  readNodeFile,
  refusalOf,
  requireRunsFolder,
  switchInstallationId,
} from "../../src/home/index.ts";
import { measuredCapacity } from "../../src/sandbox/index.ts";
import { Journal, offlineStatus, refusalAt, ScramLatch } from "../../src/scram/index.ts";
import { refuseWhileTripped } from "../../src/services/runs/require-armed.ts";
import { HeadFile } from "../../src/store/head-file.ts";
import { withStartLock } from "../../src/store/start-lock.ts";
import { closeSockets, contentOf, RUBBISH } from "../support/rubbish.ts";

/** Every file and folder of the data folder that is looked at before a database or a sentinel is. */
const PLACES = [
  "config.yaml",
  "installation.json",
  "node.json",
  "keys",
  "keys/stray.key.json",
  "runs",
  "registry",
  "postgres",
  "ledger",
  "ledger/refused.json",
  "ledger/installation.head.json",
  "ledger/installation.head.3.json",
  "ledger/nodes-read.json",
  "scram/LATCH",
  "scram/LATCH.spare",
  "scram/LATCH.new",
  "scram/SETTLED",
  "scram/answer.spare",
  "scram/call.7",
  "scram/call.7.ready",
  "scram/call.7.answer",
  "scram/capacity.json",
  "scram/engine.log",
  "scram/engine.sock",
  "scram/envelopes",
  "scram/journal.jsonl",
  "scram/keys.json",
  "scram/rooms",
  "scram/sentinel.log",
  "scram/sentinel.sock",
  "scram/signal",
] as const;
const STOP = {
  event_id: `SCRAM-${"A".repeat(20)}`,
  scope: { kind: "all" },
  reason: "operator_initiated",
  tripped_at: "2026-01-01T00:00:00.000Z",
} as const;

let home: string;
let scram: string;
beforeEach(() => {
  home = join(mkdtempSync(join(tmpdir(), "sov-rubbish-")), "home");
  ({ scram } = openDataFolder(home));
  new ScramLatch(scram);
  installationIdOf(home);
});
afterEach(() => {
  closeSockets();
  rmSync(dirname(home), { recursive: true, force: true });
});

async function spoil(place: string, make: (typeof RUBBISH)[number]["make"]): Promise<void> {
  const path = join(home, place);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const before = contentOf(path);
  rmSync(path, { recursive: true, force: true });
  await make(path, before);
}

/** What is refused has a code, and says what to look at; nothing else is thrown, nothing waits. */
async function looked(look: () => unknown): Promise<void> {
  try {
    await look();
  } catch (error) {
    expect(error).toBeInstanceOf(SovereignError);
    const { code, message } = error as SovereignError;
    expect(code).toMatch(/^ERR_(DATA_FOLDER|KEY|KEYSTORE|LEDGER|SCRAM|FORMAT|JSON)/);
    expect(message).not.toBe("");
  }
}

describe.each(PLACES)("in the place of %s", (place) => {
  it.each(RUBBISH)("$name lifts no stop", async ({ make }) => {
    new ScramLatch(scram).trip(STOP);
    await spoil(place, make);
    expect(() => {
      refuseWhileTripped(home, "acme", null);
    }).toThrow(/The kill switch is/);
    expect(offlineStatus(scram).state).not.toBe("ARMED");
  });

  it.each(RUBBISH)("$name hinders no stop, and is told of or left aside", async ({ make }) => {
    await spoil(place, make);
    await looked(() => loadConfig(home));
    await looked(() => switchInstallationId(home));
    await looked(() => readNodeFile(home));
    await looked(() => Keystore.open({ folder: join(home, "keys"), passphrase: null }));
    await looked(() => new HeadFile(openDataFolder(home).ledger, "installation").read());
    await looked(() => {
      requireRunsFolder(openDataFolder(home));
    });
    await looked(() => Journal.open(join(scram, "journal.jsonl")));
    expect(typeof isShared(home)).toBe("boolean");
    measuredCapacity(scram);
    refusalOf(home);
    refusalAt(scram, { tenant_id: "acme", run_id: "" });
    offlineStatus(scram);
    expect(Array.isArray(await dataWarnings(home))).toBe(true);
    new ScramLatch(scram).trip(STOP);
    expect(new ScramLatch(scram).preflight()).toMatchObject({ armed: false });
    // A call is a stop from the moment at which it is whole, whatever lies beside it.
    expect(refusalAt(scram, { tenant_id: "acme", run_id: "" })).not.toBeNull();
  });
});

describe("the lock under which a database is started", () => {
  it.each(RUBBISH)("is taken at once where $name stands in its place", async ({ make }) => {
    const lock = join(home, "start.lock");
    await make(lock, null);
    await make(`${lock}.${process.pid}`, null);
    const held = await withStartLock(lock, () => Promise.resolve(readFileSync(lock, "utf8")));
    expect(held).toContain(String(process.pid));
  });

  it("is waited for where a living process holds it", async () => {
    const lock = join(home, "start.lock");
    const order: string[] = [];
    await Promise.all([
      withStartLock(lock, async () => {
        order.push("first");
        await new Promise((next) => setTimeout(next, 100));
        order.push("first ends");
      }),
      withStartLock(lock, () => {
        order.push("second");
        return Promise.resolve();
      }),
    ]);
    expect(order).toEqual(["first", "first ends", "second"]);
  });
});

describe("a signed head's file", () => {
  it.each(RUBBISH)("is no head where $name stands in its place", async ({ name, make }) => {
    const file = new HeadFile(join(home, "ledger"), "installation");
    const root = "a".repeat(64);
    file.write({ size: 3, root });
    await spoil("ledger/installation.head.3.json", make);
    const kept = /others may read/.test(name);
    if (kept) expect(file.read()).toEqual({ size: 3, root });
    else expect(() => file.read()).toThrow(/is damaged: .*sovereign repair ledger/);
    // What stands where it is written first is none of ours.
    await make(`${file.path}.${process.pid}`, null);
    rmSync(file.path, { recursive: true, force: true });
    file.write({ size: 4, root });
    expect(file.read()).toEqual({ size: 4, root });
    writeFileSync(file.path, "");
  });
});
