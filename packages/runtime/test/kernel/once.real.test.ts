import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Action,
  type ActionContext,
  digestOf,
  type Envelope,
  parseCanonicalJson,
} from "@sovereign/core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS, type KeySlot } from "../../src/authority/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../../src/ledger/index.ts";
import { RunRecorder } from "../../src/runs/index.ts";
import { type Installation, openInstallation } from "../../src/installation/installation.ts";
import {
  authorityOf,
  policy,
  registryOf,
  TENANT,
  type UseAnswer,
  type UseOrder,
  Uses,
  MODEL,
} from "../support/use-once.ts";

const USES = 40;
const PROCESSES = 4;
const PROMOTE: Action = { type: "model.promote", resource: MODEL, params: {} };
const APPROVERS = ["release_manager", "safety_officer"];

const NO_DIGEST = "0".repeat(64);
let home: string;
let installation: Installation;
let others: ChildProcess[];
let count = 0;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "sov-once-"));
  installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  await installation.keyLog.initialise(installation.keystore, [
    ...INSTALLATION_KEYS,
    { purpose: "role", role: "deployer" },
    ...APPROVERS.map((role): KeySlot => ({ purpose: "approval", role })),
  ]);
  const script = join(import.meta.dirname, "../support/use-once.ts");
  others = Array.from({ length: PROCESSES }, (_, at) =>
    fork(script, [home, streamOf("other", at)]),
  );
  await Promise.all(others.map((child) => once(child, "message")));
});
afterAll(async () => {
  const ended = others.map((child) => once(child, "exit"));
  for (const child of others) child.disconnect();
  await Promise.all(ended);
  await installation.close();
  await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});
beforeEach(() => {
  rmSync(join(home, "effects"), { force: true });
  rmSync(join(home, "registry"), { recursive: true, force: true });
});

/** A context that no other test had. */
function fresh(): ActionContext {
  count += 1;
  return {
    tenant_id: TENANT,
    run_id: `run_${String(count).repeat(20).slice(0, 20)}`,
    step_id: "promote",
    attempt: 1,
    role: "deployer",
    mode: "sovereign",
    config_digest: NO_DIGEST,
    policy_digest: policy.policyDigest,
  };
}

/** What one use needs: permission for exactly this, and the approvals of two people. */
async function permission(context: ActionContext): Promise<{ role: Envelope; binding: Envelope }> {
  const authority = authorityOf(installation);
  return {
    role: await authority.issueRoleAssignment(PROMOTE, context),
    binding: await authority.issueBinding(PROMOTE, context),
  };
}

function approvals(context: ActionContext): Promise<Envelope[]> {
  const authority = authorityOf(installation);
  const digests = [digestOf(PROMOTE), digestOf(context)] as const;
  return Promise.all(APPROVERS.map((who) => authority.issueApproval(who, ...digests)));
}

/** The same order, cut into equal parts, in this process or in four. */
async function together(orders: readonly UseOrder[]): Promise<UseAnswer> {
  if (orders.length === 1)
    return new Uses(installation, home, streamOf("own", count)).all(orders[0]!);
  const answers = await Promise.all(
    others.map(async (child, at) => {
      const answer = once(child, "message") as Promise<[UseAnswer]>;
      child.send(orders[at]!);
      return (await answer)[0];
    }),
  );
  return answers.flat();
}

function partsOf<T>(all: readonly T[], processes: number): T[][] {
  const each = all.length / processes;
  return Array.from({ length: processes }, (_, at) => all.slice(at * each, (at + 1) * each));
}

const ownStreams = (): string[] => [
  streamOf("own", count),
  ...others.map((_, at) => streamOf("other", at)),
];

/** Of one process: named as a run is, because a log has no other streams. */
function streamOf(whose: string, number: number): string {
  return `run_${`${whose}${number}`.padEnd(20, "0")}`;
}

/** A run without a session: its first entry, and its row. */
async function admit(runId: string): Promise<void> {
  const { store, clock } = installation;
  const writer = new StreamWriter(store, TENANT, runId, EMPTY_STREAM);
  const recorder = new RunRecorder({ runId, tenantId: TENANT, writer, clock, epoch: null });
  const data = {
    name: "once",
    mode: "sovereign",
    installation_id: installation.id,
    plan_digest: NO_DIGEST,
    config_digest: NO_DIGEST,
    policy_digest: NO_DIGEST,
    key_log: { count: 0, head: NO_DIGEST },
    key_epoch: 0,
    envelopes: { config_snapshot: NO_DIGEST },
  };
  const first = { data, envelopes: [], nonces: [], keyEpoch: null };
  await recorder.write(
    { event: "run.admitted", severity: "INFO", ...first },
    {
      runId,
      tenantId: TENANT,
      name: "once",
      mode: "sovereign",
      status: "running",
      plan: Buffer.from("{}"),
      planDigest: NO_DIGEST,
      reason: null,
      sealed: null,
    },
  );
}

/** The events of the tenant's log of one run, in the streams of all processes. */
async function recorded(run: string, streams = ownStreams()): Promise<string[]> {
  const found: string[] = [];
  for (const stream of streams) {
    for await (const { bytes } of installation.store.readStream(TENANT, stream)) {
      const entry = parseCanonicalJson(bytes) as { event_type: string; run_id: string };
      if (entry.run_id === run) found.push(entry.event_type);
    }
  }
  return found.sort();
}

function tally(ends: UseAnswer): Record<string, number> {
  const found: Record<string, number> = {};
  for (const end of ends) found[end] = (found[end] ?? 0) + 1;
  return found;
}

const effects = (): number =>
  existsSync(join(home, "effects")) ? readFileSync(join(home, "effects"), "utf8").length : 0;

describe.each([1, PROCESSES])(`${USES} uses at once, in %d process(es)`, (processes) => {
  const execute = (requests: Extract<UseOrder, { kind: "execute" }>["requests"]) =>
    together(partsOf(requests, processes).map((part) => ({ kind: "execute", requests: part })));

  it.each(["one permission", "one set of approvals"])("of %s act once", async (what) => {
    const context = fresh();
    const same = await permission(context);
    const approved = await approvals(context);
    const requests = await Promise.all(
      Array.from({ length: USES }, async () => ({
        action: PROMOTE,
        context,
        authorization: what === "one permission" ? same : await permission(context),
        approvals: what === "one permission" ? await approvals(context) : approved,
      })),
    );
    const ends = await execute(requests);
    expect(tally(ends)).toEqual({ COMPLETED: 1, "BLOCKED ERR_NONCE_REPLAYED": USES - 1 });
    expect(effects()).toBe(1);
    const events = await recorded(context.run_id);
    expect(events.filter((event) => event === "execution.completed")).toHaveLength(1);
    expect(events.filter((event) => event === "execution.authorized")).toHaveLength(1);
    expect(events.filter((event) => event === "execution.blocked")).toHaveLength(USES - 1);
  });

  it("of one place act once, each with a permission and approvals of its own", async () => {
    const context = fresh();
    const { run_id: inRun } = context;
    await admit(inRun);
    const requests = await Promise.all(
      Array.from({ length: USES }, async () => ({
        action: PROMOTE,
        context,
        authorization: await permission(context),
        approvals: await approvals(context),
      })),
    );
    const parts = partsOf(requests, processes);
    const ends = await together(parts.map((part) => ({ kind: "execute", requests: part, inRun })));
    const { COMPLETED, ...refused } = tally(ends);
    expect(COMPLETED).toBe(1);
    // Whoever lost the run to another process records nothing more in it.
    const repeated = refused["BLOCKED ERR_STEP_REPEATED"] ?? 0;
    expect(repeated + (refused["BLOCKED ERR_RUN_FENCED"] ?? 0)).toBe(USES - 1);
    // A process that comes later reads what the winner did, and is refused on record, too.
    expect(repeated).toBeGreaterThanOrEqual(USES / processes - 1);
    expect(effects()).toBe(1);
    const again = await together(
      parts.map((part) => ({ kind: "execute", requests: part.slice(0, 1), inRun })),
    );
    expect(again.filter((end) => end === "COMPLETED")).toEqual([]);
    expect(effects()).toBe(1);
    const events = await recorded(inRun, [inRun]);
    expect(events.filter((event) => event === "execution.completed")).toHaveLength(1);
    expect(events.filter((event) => event === "execution.authorized")).toHaveLength(1);
  });

  it("of one idempotency key switch a model once, and all are told of that", async () => {
    const keys = partsOf(Array<string>(USES).fill("the same"), processes);
    const ends = await together(
      keys.map((part) => ({ kind: "promote", keys: part, content: "a model" })),
    );
    const history = await registryOf(home).history(MODEL);
    expect(history).toHaveLength(1);
    expect(new Set(ends)).toEqual(new Set([digestOf(history[0]!)]));
  });

  it("of keys that differ switch a model once, and the others are refused", async () => {
    const keys = partsOf(
      Array.from({ length: USES }, (_, at) => `key ${at}`),
      processes,
    );
    const ends = await together(
      keys.map((part) => ({ kind: "promote", keys: part, content: "a model" })),
    );
    expect(await registryOf(home).history(MODEL)).toHaveLength(1);
    expect(ends.filter((end) => end === "ERR_REGISTRY_CONFLICT")).toHaveLength(USES - 1);
  });
});
