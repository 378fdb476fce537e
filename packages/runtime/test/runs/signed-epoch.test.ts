import { type Envelope, type KeyPurpose, predicateType } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeyLog } from "../../src/authority/index.ts";
import { readRun } from "../../src/ledger/index.ts";
import { castVotes, type RunSession } from "../../src/runs/index.ts";
import { eventOf } from "../support/away.ts";
import { RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun, INSTALLATION } from "../support/run-builder.ts";
import { World } from "../support/world.ts";

let world: World;
let store: MemoryStore;
let session: RunSession;
beforeEach(async () => {
  world = await World.create();
  store = new MemoryStore({ keysElsewhere: true });
  session = (await buildRun(world, { store })).session;
});
afterEach(() => {
  world.dispose();
});

/** Another process, with a key log of its own. */
async function elsewhere(change: (keyLog: KeyLog) => Promise<unknown>): Promise<void> {
  const keyLog = new KeyLog(world.log, INSTALLATION, world.clock);
  await keyLog.refresh();
  await change(keyLog);
}

/** The ledger judges by the key log as it is; it grows once this is signed, and not yet committed. */
function amid(event: string, change: (keyLog: KeyLog) => Promise<unknown>): void {
  let isChanged = false;
  store.between = (item) => {
    if (eventOf(item) !== event) return null;
    const judge = async (): ReturnType<MemoryStore["commit"]> => {
      if (!isChanged) await elsewhere(change);
      isChanged = true;
      const { keyEpoch } = item;
      if (keyEpoch === undefined || keyEpoch === world.log.entries.length) return committed(item);
      return { status: "refused", reason: "key_epoch", detail: "the key log has grown" };
    };
    return judge();
  };
}

function committed(item: Parameters<MemoryStore["commit"]>[0]): ReturnType<MemoryStore["commit"]> {
  const { between } = store;
  store.between = () => null;
  const verdict = store.commit(item);
  store.between = between;
  return verdict;
}

/** What was recorded of an event: its key epoch, and who signed. */
async function recorded(event: string): Promise<{ epoch: unknown; signers: string[] }[]> {
  const found: { epoch: unknown; signers: string[] }[] = [];
  for await (const { entry } of readRun(store, "acme", RUN)) {
    if (entry.event_type !== event) continue;
    const digests = Object.values(entry.data["envelopes"] as Record<string, string>);
    const signed = [...(await store.readEnvelopes("acme", digests)).values()].map(
      (bytes) => JSON.parse(Buffer.from(bytes).toString()) as Envelope,
    );
    const signers = signed.flatMap(({ signatures }) => signatures.map(({ keyid }) => keyid));
    found.push({ epoch: entry.data["key_epoch"], signers });
  }
  return found;
}

interface Signed {
  readonly event: string;
  readonly purpose: KeyPurpose;
  readonly role: string | null;
  readonly code: string;
  sign(): Promise<unknown>;
}

const OF_INSTALLATION = "ERR_KEY_NOT_IN_FORCE";
const vote = {
  role: "trainer",
  verdict: "approve",
  claims: {},
  output: { name: "v", sha256: "c".repeat(64), bytes: 1, media_type: "text/plain" },
} as const;

const cases: readonly [string, Signed][] = [
  [
    "the admission of a run",
    {
      ...{ event: "run.admitted", purpose: "config", role: null, code: OF_INSTALLATION },
      sign: () => session.admit(),
    },
  ],
  [
    "a statement",
    {
      ...{ event: "attestation.issued", purpose: "attestation", role: null, code: OF_INSTALLATION },
      sign: () =>
        session.attest(predicateType("gate-receipt"), async () => ({
          receipt: await world.authority.issue(
            "gate-receipt",
            [{ name: RUN, sha256: "c".repeat(64) }],
            { run_id: RUN } as never,
            "attestation",
            null,
          ),
        })),
    },
  ],
  [
    "an agent's vote",
    {
      ...{ event: "attestation.issued", purpose: "role", role: "trainer" },
      code: "ERR_KEY_NOT_FOUND",
      sign: () =>
        castVotes({ session, authority: world.authority, clock: world.clock }, "b", [vote]),
    },
  ],
  [
    "the seal of a run",
    {
      ...{ event: "run.sealed", purpose: "seal", role: null, code: OF_INSTALLATION },
      sign: () => session.seal("completed", null),
    },
  ],
];

describe("what is signed before the key log grows, and recorded after it: ", () => {
  it.each(cases)("%s is not recorded by a key that was revoked meanwhile", async (_name, one) => {
    if (one.event !== "run.admitted") await session.admit();
    const key = world.keyIdOf(one.purpose, one.role);
    amid(one.event, (keyLog) => keyLog.revoke(world.keystore, key, "stolen", false));
    await expect(one.sign()).rejects.toMatchObject({ code: one.code });
    expect(await recorded(one.event)).toEqual([]);
  });

  it.each(cases)("%s is signed anew by the key that replaced it", async (_name, one) => {
    if (one.event !== "run.admitted") await session.admit();
    const old = world.keyIdOf(one.purpose, one.role);
    amid(one.event, (keyLog) => keyLog.rotate(world.keystore, old, "yearly"));
    await one.sign();
    const epoch = world.log.entries.length;
    expect(await recorded(one.event)).toEqual([
      { epoch, signers: [expect.not.stringMatching(old)] },
    ]);
  });

  it("ends where the key log never stands still", async () => {
    let other = world.keyIdOf("role", "deployer");
    amid("run.admitted", () => Promise.resolve());
    const { between } = store;
    store.between = (item) => {
      const verdict = elsewhere(async (keyLog) => {
        other = (await keyLog.rotate(world.keystore, other, "again")).key_id;
      });
      return verdict.then(() => between(item) ?? store.commit(item));
    };
    await expect(session.admit()).rejects.toThrow("Keys are replaced all the time");
  });
});
