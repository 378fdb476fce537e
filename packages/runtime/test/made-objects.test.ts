import { mkdtempSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as api from "../src/index.ts";
import { RUN } from "./support/evidence.ts";
import { derivedFrom, later, lookAlikes } from "./support/look-alikes.ts";
import { MemoryStore } from "./support/memory-store.ts";
import { QuietSentinel } from "./support/quiet-sentinel.ts";
import { World } from "./support/world.ts";

const OWNER = { tenant_id: "acme", run_id: RUN };
const SLOT = { purpose: "role", role: "painter" } as const;

let world: World;
let folder: string;
let sentinel: QuietSentinel;
let writer: api.StreamWriter;
beforeEach(async () => {
  world = await World.create();
  folder = mkdtempSync(join(tmpdir(), "sov-made-"));
  sentinel = await QuietSentinel.open(join(folder, "scram"));
  writer = newWriter();
});
afterEach(() => {
  sentinel.close();
  world.dispose();
  rmSync(folder, { recursive: true, force: true });
});

function newWriter(): api.StreamWriter {
  return new api.StreamWriter(new MemoryStore(), "acme", RUN, api.EMPTY_STREAM);
}

interface Door {
  readonly made: () => object;
  /** What the class of that object is made with. */
  readonly given: () => unknown[];
  readonly enter: (one: never) => unknown;
}

const keystore = {
  made: () => world.keystore,
  given: () => [{ folder: join(folder, "keys"), passphrase: null }],
};
const link = { made: () => sentinel.link, given: () => [null, 0, new Socket()] };
const doors: readonly [string, Door][] = [
  [
    "an authority, for its keystore",
    {
      ...keystore,
      enter: (one) => {
        const { keyLog, clock } = world;
        const keys = (): ReturnType<typeof keyLog.current> => keyLog.current();
        const decide = (): never => expect.unreachable();
        const entropy = api.systemEntropy;
        return new api.Authority({ keystore: one, keys, decide, clock, entropy });
      },
    },
  ],
  [
    "a key log that makes a key",
    { ...keystore, enter: (one) => world.keyLog.introduce(one, SLOT, { another: true }) },
  ],
  [
    "a key log that makes the first keys",
    {
      ...keystore,
      enter: (one) => {
        const none = { read: () => Promise.resolve([]), append: () => Promise.resolve(true) };
        const keyLog = new api.KeyLog(none, `ins_${"a".repeat(20)}`, world.clock);
        return keyLog.ensure(one, [...api.INSTALLATION_KEYS]);
      },
    },
  ],
  [
    "a key log that rotates a key",
    { ...keystore, enter: (one) => world.keyLog.rotate(one, trainer(), "yearly") },
  ],
  [
    "a key log that replaces a key",
    { ...keystore, enter: (one) => world.keyLog.replace(one, { ...SLOT, role: "trainer" }, "x") },
  ],
  [
    "a key log that revokes a key",
    { ...keystore, enter: (one) => world.keyLog.revoke(one, trainer(), "lost", false) },
  ],
  ["a key log that tidies", { ...keystore, enter: (one) => world.keyLog.settle(one) }],
  [
    "a recorder, for its writer",
    {
      made: () => writer,
      given: () => [new MemoryStore(), "acme", RUN, api.EMPTY_STREAM],
      enter: (one) => {
        const { clock } = world;
        const options = { runId: RUN, tenantId: "acme", clock, epoch: null };
        return new api.RunRecorder({ ...options, writer: one });
      },
    },
  ],
  ["a sandbox, for its connection", { ...link, enter: (one) => api.connectSandbox(one, OWNER) }],
  ["a member, for its connection", { ...link, enter: (one) => new api.ScramMember(one, OWNER) }],
];

function trainer(): string {
  return world.keyIdOf("role", "trainer");
}

describe("takes none but what the runtime made itself: ", () => {
  it.each(doors)("%s", async (_name, { made, given, enter }) => {
    const genuine = made();
    const before = world.log.entries.length;
    for (const [what, one] of lookAlikes(genuine)) {
      const entered = later(() => enter(one as never));
      await expect(entered, what).rejects.toThrow(/^Expected .* that the runtime made itself/);
    }
    expect(() => derivedFrom(genuine, ...given())).toThrow("No class is derived from");
    expect(world.log.entries.length).toBe(before);
    await enter(genuine as never);
  });
});

describe("a connection to the sentinel", () => {
  it("has one who takes stops to the ledger, and one member", () => {
    const { link } = sentinel;
    const told = (): void => undefined;
    link.onRecorded = told;
    expect(() => (link.onRecorded = told)).toThrow("Somebody is told of stops already.");
    new api.ScramMember(link, OWNER);
    expect(() => new api.ScramMember(link, OWNER)).toThrow("has a member already");
    expect(() => (link.onTerminate = told)).toThrow("has a member already");
  });

  it.each<[string, (owner: typeof OWNER) => Promise<unknown>]>([
    [
      "a sandbox does",
      (owner) => {
        const sandbox = api.connectSandbox(sentinel.link, owner);
        Object.assign(owner, { tenant_id: "other" });
        return sandbox.run({} as never, new AbortController().signal).catch(String);
      },
    ],
    [
      "a member does",
      (owner) => {
        const member = new api.ScramMember(sentinel.link, owner);
        Object.assign(owner, { tenant_id: "other" });
        return Promise.resolve(JSON.stringify(member.preflight()));
      },
    ],
  ])("stops the work that %s as whose it was then", async (_name, work) => {
    const stopped = { kind: "tenant", tenant_id: "acme" } as const;
    new api.ScramLatch(join(folder, "scram")).trip({
      event_id: `SCRAM-${"A".repeat(20)}`,
      scope: stopped,
      reason: "operator",
    } as never);
    expect(await work({ ...OWNER })).toMatch(/ERR_SCRAM_TRIPPED|tripped/);
  });
});
