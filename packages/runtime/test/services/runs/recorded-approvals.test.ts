import { digestOf, type Envelope, type JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeyLog } from "../../../src/authority/index.ts";
import type { Installation } from "../../../src/installation/index.ts";
import { readRun, StreamWriter } from "../../../src/ledger/index.ts";
import type { RunRow, RunSession } from "../../../src/runs/index.ts";
import { RunStopped } from "../../../src/runs/index.ts";
import { approveRun } from "../../../src/services/runs/approvals.ts";
import { gatherApprovals } from "../../../src/services/runs/gather-approvals.ts";
import { eventOf } from "../../support/away.ts";
import { RUN } from "../../support/evidence.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { buildRun, INSTALLATION } from "../../support/run-builder.ts";
import { PROMOTE, World } from "../../support/world.ts";

let world: World;
let store: MemoryStore;
let session: RunSession;
beforeEach(async () => {
  world = await World.create();
  store = new WaitingStore({ keysElsewhere: true });
  session = (await sessionOf()).session;
  await session.admit();
});
afterEach(() => {
  world.dispose();
});

/** The one run waits; and what is asked for comes back in no order that is promised. */
class WaitingStore extends MemoryStore {
  override findRun(): Promise<RunRow | null> {
    return Promise.resolve({ runId: RUN, status: "pending", kind: "pipeline" } as RunRow);
  }

  override async readEnvelopes(
    log: string,
    digests: readonly string[],
  ): Promise<Map<string, Uint8Array>> {
    const found = await super.readEnvelopes(log, digests);
    return new Map([...found].sort(([one], [other]) => one.localeCompare(other)));
  }
}

function sessionOf(approvers: readonly string[] = []): ReturnType<typeof buildRun> {
  const { authority, keyLog } = world;
  const place = { store, tenantId: "acme", runId: RUN, authority, keys: () => keyLog.current() };
  return buildRun(world, {
    store,
    epoch: 2,
    approvals: (pending) =>
      gatherApprovals({ ...place, approvers, onProgress: () => undefined }, pending),
    approvers,
  });
}

const STEP = { stepId: "promote", role: "deployer", action: PROMOTE };

/** How the step ends for the next process that asks for it. */
async function asked(...approvers: readonly string[]): Promise<string> {
  const next = (await sessionOf(approvers)).session;
  return next.perform(STEP).then(
    ({ status }) => status,
    (error: unknown) => (error instanceof RunStopped ? error.message : String(error)),
  );
}

const digests = {
  action: digestOf(PROMOTE),
  context: (): string => digestOf(contextOf(session)),
};

function contextOf({ plan, configDigest }: RunSession): JsonObject {
  const { tenantId: tenant_id, runId: run_id, mode, policyDigest: policy_digest } = plan;
  const place = { tenant_id, run_id, step_id: "promote", attempt: 1, role: "deployer", mode };
  return { ...place, config_digest: configDigest, policy_digest };
}

/** As whoever holds the tenant's log may write it. */
async function granted(approver: string, envelope: Envelope): Promise<void> {
  const head = await store.streamHead("acme", RUN);
  const writer = new StreamWriter(store, "acme", RUN, head);
  const data = {
    approver,
    action_digest: digests.action,
    key_epoch: world.keyLog.head().count,
    envelopes: { approval: digestOf(envelope) },
    given_at: world.clock.now().toISOString(),
  };
  const place = { tenantId: "acme", runId: RUN, timestamp: data.given_at };
  const entry = { ...place, eventType: "approval.granted", severity: "INFO", data } as const;
  await writer.append(entry, { envelopes: [envelope] });
}

async function grants(): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { entry } of readRun(store, "acme", RUN))
    if (entry.event_type === "approval.granted") found.push(entry.data["approver"]);
  return found;
}

const approval = (who: string): Promise<Envelope> =>
  world.authority.issueApproval(who, digests.action, digests.context());

describe("approvals that were recorded", () => {
  it("count, one of each person", async () => {
    expect(await asked()).toContain("PENDING");
    await granted("release_manager", await approval("release_manager"));
    expect(await asked()).toContain("PENDING");
    await granted("safety_officer", await approval("safety_officer"));
    expect(await asked()).toBe("COMPLETED");
  });

  it("hold the consent that came with the run's own command, and was too little", async () => {
    expect(await asked("release_manager")).toContain("PENDING");
    expect(await asked("safety_officer")).toBe("COMPLETED");
    expect(await grants()).toEqual(["release_manager"]);
  });

  it("hold nothing where the consent was enough at once", async () => {
    expect(await asked("release_manager", "safety_officer", "stranger")).toBe("COMPLETED");
    expect(await grants()).toEqual([]);
  });

  const floods: readonly [string, () => Promise<[string, Envelope]>][] = [
    ["one person's", async () => ["safety_officer", await approval("safety_officer")]],
    [
      "one person's under another's name",
      async () => ["release_manager", await approval("safety_officer")],
    ],
    ["a stranger's", async () => ["release_manager", await approval("stranger")]],
    [
      "what nobody signed",
      async () => {
        const envelope = await approval("release_manager");
        const sig = Buffer.from(crypto.getRandomValues(new Uint8Array(64))).toString("base64");
        const [first] = envelope.signatures;
        return ["release_manager", { ...envelope, signatures: [{ keyid: "", ...first, sig }] }];
      },
    ],
  ];
  it.each(floods)("are hidden by no flood: %s", async (_name, flood) => {
    await granted("release_manager", await approval("release_manager"));
    for (let at = 0; at < 130; at++) await granted(...(await flood()));
    await granted("safety_officer", await approval("safety_officer"));
    for (let at = 0; at < 130; at++) await granted(...(await flood()));
    expect(await asked()).toBe("COMPLETED");
  });

  it("are the newest of each person: an older one may be out of time", async () => {
    for (let at = 0; at < 10; at++) {
      await granted("release_manager", await approval("release_manager"));
      await granted("safety_officer", await approval("safety_officer"));
    }
    world.clock.ms += 20 * 60_000;
    expect(await asked()).toContain("PENDING");
    await granted("safety_officer", await approval("safety_officer"));
    await granted("release_manager", await approval("release_manager"));
    expect(await asked()).toBe("COMPLETED");
  });

  it("are handed on in the order of the ledger, and never more than the kernel looks at", async () => {
    const made: string[] = [];
    for (let at = 0; at < 100; at++) {
      const who = at % 2 === 0 ? "release_manager" : "safety_officer";
      const envelope = await approval(who);
      made.push(digestOf(envelope));
      await granted(who, envelope);
    }
    const { authority, keyLog } = world;
    const place = { store, tenantId: "acme", runId: RUN, authority, keys: () => keyLog.current() };
    const decision = { approvals: { required: 2, roles: ["release_manager", "safety_officer"] } };
    const wanted = { decision, actionDigest: digests.action, contextDigest: digests.context() };
    const options = { ...place, approvers: [], onProgress: () => undefined };
    const found = await gatherApprovals(options, wanted as never);
    const numbers = (found ?? []).map((one) => made.indexOf(digestOf(one)));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(numbers.slice(-2)).toEqual([98, 99]);
    expect(numbers.length).toBeLessThanOrEqual(64);
  });
});

describe("an approval that is given apart from the run", () => {
  async function approve(keyLog: KeyLog, who = "release_manager"): Promise<unknown> {
    const { keystore, clock } = world;
    const installation = { store, keyLog, keystore, clock } as unknown as Installation;
    return approveRun(installation, "acme", RUN, who);
  }

  /** A process that has read the key log once; the ledger judges by the log as it is. */
  async function anotherProcess(grow: () => Promise<unknown>): Promise<KeyLog> {
    expect(await asked()).toContain("PENDING");
    const keyLog = new KeyLog(world.log, INSTALLATION, world.clock);
    await keyLog.refresh();
    let grown = false;
    store.between = (item) => {
      if (eventOf(item) !== "approval.granted") return null;
      const stale = async (): Promise<{
        status: "refused";
        reason: "key_epoch";
        detail: string;
      }> => {
        if (!grown) await grow();
        grown = true;
        return { status: "refused", reason: "key_epoch", detail: "the key log has grown" };
      };
      return grown && item.keyEpoch === world.log.entries.length ? null : stale();
    };
    return keyLog;
  }

  async function epochs(): Promise<unknown[]> {
    const found: unknown[] = [];
    for await (const { entry } of readRun(store, "acme", RUN))
      if (entry.event_type === "approval.granted") found.push(entry.data["key_epoch"]);
    return found;
  }

  it("is committed under the epoch that its key was judged at", async () => {
    const other = world.keyIdOf("role", "trainer");
    const keyLog = await anotherProcess(() => world.keyLog.rotate(world.keystore, other, "yearly"));
    await approve(keyLog);
    expect(await epochs()).toEqual([world.log.entries.length]);
  });

  it("is not recorded where its key was revoked meanwhile", async () => {
    const own = world.keyIdOf("approval", "release_manager");
    const keyLog = await anotherProcess(() =>
      world.keyLog.revoke(world.keystore, own, "left", false),
    );
    await expect(approve(keyLog)).rejects.toMatchObject({ code: "ERR_KEY_NOT_FOUND" });
    expect(await epochs()).toEqual([]);
  });
});
