import { type Action, type ActionContext, type Envelope, GENESIS_HASH } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EffectResult, Outcome } from "../../src/kernel/index.ts";
import { PROMOTE, TRAIN, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

interface Permission {
  role: Envelope;
  binding: Envelope;
}

async function execute(
  options: {
    action?: Action;
    context?: ActionContext;
    permission?: Permission | null;
    approvals?: Envelope[];
  } = {},
): Promise<Outcome> {
  const action = options.action ?? TRAIN;
  const context = options.context ?? world.context();
  const authorization =
    options.permission === undefined ? await world.permission(action, context) : options.permission;
  const approvals = options.approvals ?? [];
  return world.kernel().execute({ action, context, authorization, approvals });
}

/** No effect, and the last entry of the ledger says why. */
function expectRefused(outcome: Outcome, status: string, code: string, event: string): void {
  expect(outcome).toMatchObject({ status, code });
  expect(world.effects).toBe(0);
  expect(world.recorder.records.at(-1)).toMatchObject({ event, data: { code } });
}

describe("the kernel", () => {
  it("does what is allowed, with the intent before the effect and the outcome after", async () => {
    const outcome = await execute();
    expect(outcome).toMatchObject({ status: "COMPLETED", output: { done: true }, entryIndex: 1 });
    expect(world.effects).toBe(1);
    expect(world.recorder.events).toEqual(["execution.authorized", "execution.completed"]);
    expect(world.recorder.records[0]?.data).toMatchObject({ decision: { effect: "allow" } });
  });

  it("records the refusal of a request that is no action", async () => {
    const bad = await execute({ action: { ...TRAIN, type: "nonsense" }, permission: null });
    expectRefused(bad, "BLOCKED", "ERR_FORMAT_INVALID", "execution.blocked");
    const huge = { ...TRAIN, params: { text: "x".repeat(40_000) } };
    const outcome = await execute({ action: huge });
    expectRefused(outcome, "BLOCKED", "ERR_ACTION_TOO_LARGE", "execution.blocked");
  });

  it("throws where the request names no run to record the refusal in", async () => {
    const lost = execute({
      context: { ...world.context(), run_id: "elsewhere" },
      permission: null,
    });
    await expect(lost).rejects.toMatchObject({ code: "ERR_FORMAT_INVALID" });
    expect(world.recorder.records).toEqual([]);
  });

  it("exits SCRAM_ABORT when the kill switch is tripped", async () => {
    world.armed = false;
    expectRefused(await execute(), "SCRAM_ABORT", "ERR_SCRAM_TRIPPED", "execution.aborted");
  });

  it("exits DENIED for what policy does not allow, and for what nothing can do", async () => {
    const denied = { ...TRAIN, type: "model.delete" };
    const outcome = await execute({ action: denied, permission: null });
    expectRefused(outcome, "DENIED", "ERR_POLICY_DENIED", "execution.denied");
    const unknown = await execute({ action: { ...TRAIN, type: "model.break" } });
    expectRefused(unknown, "DENIED", "ERR_ACTION_UNKNOWN", "execution.denied");
  });

  it("exits PENDING until enough distinct people approved exactly this", async () => {
    const context = world.context({ role: "deployer" });
    const first = await world.approve("release_manager", PROMOTE, context);
    const again = await world.approve("release_manager", PROMOTE, context);
    const waiting = await execute({ action: PROMOTE, context, approvals: [first, again] });
    expectRefused(waiting, "PENDING", "ERR_APPROVAL_REQUIRED", "execution.pending");
    expect(waiting).toMatchObject({ approvedBy: ["release_manager"] });
    const second = await world.approve("safety_officer", PROMOTE, context);
    const done = await execute({ action: PROMOTE, context, approvals: [first, second] });
    expect(done).toMatchObject({ status: "COMPLETED" });
  });

  it("exits BLOCKED without a permission", async () => {
    const outcome = await execute({ permission: null });
    expectRefused(outcome, "BLOCKED", "ERR_BINDING_MISSING", "execution.blocked");
  });

  it("exits KILLED and FAILED with the effect's reason", async () => {
    world.result = { status: "killed", code: "ERR_PROGRAM_KILLED", reason: "wall clock" };
    expect(await execute()).toMatchObject({ status: "KILLED", code: "ERR_PROGRAM_KILLED" });
    world.result = { status: "failed", code: "ERR_PROGRAM_FAILED", reason: "exit 1" };
    expect(await execute()).toMatchObject({ status: "FAILED", code: "ERR_PROGRAM_FAILED" });
    world.result = new Error("thrown");
    expect(await execute()).toMatchObject({ status: "FAILED", code: "ERR_EFFECT_FAILED" });
    world.result = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    expect(await execute()).toMatchObject({ status: "FAILED", code: "ERR_DISK_LOW" });
    expect(world.recorder.events.filter((event) => event !== "execution.authorized")).toEqual([
      "execution.killed",
      "execution.failed",
      "execution.failed",
      "execution.failed",
    ]);
  });

  it("exits UNAVAILABLE without an effect when the intent is not durable, and records it later", async () => {
    world.recorder.failOn = ["execution.authorized", "execution.unavailable"];
    const outcome = await world.kernel().execute({
      action: TRAIN,
      context: world.context(),
      authorization: await world.permission(TRAIN, world.context()),
      approvals: [],
    });
    expect(outcome).toMatchObject({ status: "UNAVAILABLE", effectRan: false, entryIndex: null });
    expect(world.effects).toBe(0);
    expect(world.recorder.records).toEqual([]);
  });

  it("writes what it could not record before anything else of that run", async () => {
    const kernel = world.kernel();
    const request = async () => ({
      action: TRAIN,
      context: world.context(),
      authorization: await world.permission(TRAIN, world.context()),
      approvals: [],
    });
    world.recorder.failOn = ["execution.authorized", "execution.unavailable"];
    await kernel.execute(await request());
    await kernel.execute(await request());
    expect(world.recorder.events).toEqual([
      "execution.unavailable",
      "execution.authorized",
      "execution.completed",
    ]);
  });

  it("says that the effect ran when only its outcome is not durable", async () => {
    world.recorder.failOn = ["execution.completed", "execution.unavailable"];
    const outcome = await execute();
    expect(outcome).toMatchObject({
      status: "UNAVAILABLE",
      code: "ERR_OUTCOME_UNRECORDED",
      effectRan: true,
    });
    expect(world.effects).toBe(1);
  });

  it.each([
    ["failed", "ERR_DISK_LOW"],
    ["killed", "ERR_EFFECT_KILLED"],
  ] as const)("calls no effect %s whose end is not durable", async (status, code) => {
    world.recorder.failOn = [`execution.${status}`];
    world.result = { status, code, reason: "why" };
    expect(await execute()).toMatchObject({ status: "UNAVAILABLE", effectRan: true });
    expect(world.recorder.events).toEqual([
      "execution.authorized",
      `execution.${status}`,
      "execution.unavailable",
    ]);
  });

  it("refuses compatible mode unless the configuration allows it", async () => {
    const context = world.context({ mode: "compatible" });
    const outcome = await execute({ context, permission: null });
    expectRefused(outcome, "BLOCKED", "ERR_MODE_REFUSED", "execution.blocked");
    const allowed = world.kernel({ allowCompatible: true });
    const request = { action: TRAIN, context, authorization: null, approvals: [] };
    expect(await allowed.execute(request)).toMatchObject({ status: "COMPLETED" });
    expect(world.recorder.records.at(-2)?.data["envelopes"]).toEqual({});
  });

  it("calls a thrown effect killed when it was cancelled", async () => {
    const controller = new AbortController();
    const effect = (): Promise<EffectResult> => {
      controller.abort();
      return Promise.reject(new Error("interrupted"));
    };
    const authorization = await world.permission(TRAIN, world.context());
    const request = { action: TRAIN, context: world.context(), authorization, approvals: [] };
    const kernel = world.kernel({ effects: { "model.train": effect } });
    const outcome = await kernel.execute({ ...request, signal: controller.signal });
    expect(outcome).toMatchObject({ status: "KILLED", reason: "interrupted" });
  });

  it("begins no effect whose signal was aborted before", async () => {
    const authorization = await world.permission(TRAIN, world.context());
    const request = { action: TRAIN, context: world.context(), authorization, approvals: [] };
    const outcome = await world.kernel().execute({ ...request, signal: AbortSignal.abort() });
    expectRefused(outcome, "KILLED", "ERR_EFFECT_KILLED", "execution.killed");
  });

  it("stops when another process has taken the run over", async () => {
    world.recorder.refusal = { status: "refused", reason: "fenced", detail: "epoch 2" };
    const outcome = await execute();
    expect(outcome).toMatchObject({ status: "BLOCKED", code: "ERR_RUN_FENCED" });
    expect(world.effects).toBe(0);
  });
});

describe("a policy binding", () => {
  const blocked = async (code: string, options: Parameters<typeof execute>[0]): Promise<void> => {
    expectRefused(await execute(options), "BLOCKED", code, "execution.blocked");
  };
  /** The binding of one context with the role signature of another. */
  const mixed = async (context: ActionContext, action = TRAIN): Promise<Permission> => ({
    role: await world.authority.issueRoleAssignment(TRAIN, world.context()),
    binding: await world.authority.issueBinding(action, context),
  });

  it("is good once", async () => {
    const permission = await world.permission(TRAIN, world.context());
    expect(await execute({ permission })).toMatchObject({ status: "COMPLETED" });
    const again = await execute({ permission });
    expect(again).toMatchObject({ status: "BLOCKED", code: "ERR_NONCE_REPLAYED" });
    expect(world.effects).toBe(1);
    expect(world.recorder.records.at(-1)).toMatchObject({ event: "execution.blocked" });
  });

  it("is good for no other action", async () => {
    const other = { ...TRAIN, params: { trees: 4 } };
    await blocked("ERR_BINDING_ACTION", { permission: await mixed(world.context(), other) });
  });

  it("is good for no other context", async () => {
    const permission = await mixed(world.context({ step_id: "other" }));
    await blocked("ERR_BINDING_CONTEXT", { permission });
  });

  it("is good for no other tenant", async () => {
    const permission = await mixed(world.context({ tenant_id: "globex" }));
    await blocked("ERR_BINDING_TENANT", { permission });
  });

  it("is good for no other run", async () => {
    const permission = await mixed(world.context({ run_id: `run_${"b".repeat(20)}` }));
    await blocked("ERR_BINDING_RUN", { permission });
  });

  it("is good under no other policy, and for no other decision", async () => {
    const decide = (action: Action, context: ActionContext) => ({
      ...world.policy.decide(action, context),
      policy_digest: GENESIS_HASH,
    });
    const role = await world.authority.issueRoleAssignment(TRAIN, world.context());
    const binding = await world.authorityFor(decide).issueBinding(TRAIN, world.context());
    await blocked("ERR_BINDING_POLICY", { permission: { role, binding } });
  });

  it("expires, and is not good before its time", async () => {
    const permission = await world.permission(TRAIN, world.context());
    world.clock.ms += 60_001;
    await blocked("ERR_ROLE_EXPIRED", { permission });
    const role = await world.authority.issueRoleAssignment(TRAIN, world.context());
    await blocked("ERR_BINDING_EXPIRED", { permission: { ...permission, role } });
    const future = await world.permission(TRAIN, world.context());
    world.clock.ms -= 10_000;
    await blocked("ERR_ROLE_EXPIRED", { permission: future });
  });

  it("is refused when a key of another purpose or role signed", async () => {
    const permission = await world.permission(TRAIN, world.context());
    const deployer = { ...world.context(), role: "deployer" };
    const wrongRole = await world.authority.issueRoleAssignment(TRAIN, deployer);
    await blocked("ERR_ROLE_CONTEXT", { permission: { ...permission, role: wrongRole } });
    await blocked("ERR_BINDING_WRONG_KEY", {
      permission: { ...permission, binding: permission.role },
    });
    await blocked("ERR_ROLE_WRONG_KEY", {
      permission: { ...permission, role: permission.binding },
    });
  });

  it("is refused when no enrolled key signed, or what was signed was changed", async () => {
    const permission = await world.permission(TRAIN, world.context());
    const stranger = await World.create();
    const foreign = await stranger.authority.issueBinding(TRAIN, world.context());
    stranger.dispose();
    await blocked("ERR_BINDING_SIGNATURE", { permission: { ...permission, binding: foreign } });
    const payload = permission.binding.payload.replace(/^./, "f");
    const edited = { ...permission.binding, payload };
    await blocked("ERR_BINDING_SIGNATURE", { permission: { ...permission, binding: edited } });
    const role = { ...permission.role, payload };
    await blocked("ERR_ROLE_SIGNATURE", { permission: { ...permission, role } });
  });

  it("is refused after its key was revoked, also when the kernel has not heard of it", async () => {
    const permission = await world.permission(TRAIN, world.context());
    const kernel = world.kernel();
    const before = world.keyLog.current();
    await world.keyLog.revoke(world.keystore, world.keyIdOf("binding"), "lost", false);
    // A table that was handed out stays as it was; who asks again gets the keys as they are.
    expect(before.count).toBe(world.log.entries.length - 1);
    expect(world.keyLog.current().count).toBe(world.log.entries.length);
    const request = { action: TRAIN, context: world.context(), approvals: [] };
    const outcome = await kernel.execute({ ...request, authorization: permission });
    expectRefused(outcome, "BLOCKED", "ERR_BINDING_KEY_REVOKED", "execution.blocked");
  });

  it("is refused for a role signature of another action, and for a statement of another type", async () => {
    const permission = await world.permission(TRAIN, world.context());
    const other = { ...TRAIN, params: { trees: 9 } };
    const role = await world.authority.issueRoleAssignment(other, world.context());
    await blocked("ERR_ROLE_ACTION", { permission: { ...permission, role } });
    const approval = {
      approver: "x",
      action_digest: GENESIS_HASH,
      context_digest: GENESIS_HASH,
      nonce: "0".repeat(32),
      issued_at: "2026-01-01T00:00:00.000Z",
      expires_at: "2026-01-01T00:00:00.000Z",
    };
    const subject = [{ name: "x", sha256: GENESIS_HASH }];
    const binding = await world.authority.issue("approval", subject, approval, "binding", null);
    await blocked("ERR_AUTHORITY_MALFORMED", { permission: { ...permission, binding } });
  });

  it("is refused for a revoked role key", async () => {
    const permission = await world.permission(TRAIN, world.context());
    const keyId = world.keyIdOf("role", "trainer");
    await world.keyLog.revoke(world.keystore, keyId, "left", false);
    await blocked("ERR_ROLE_KEY_REVOKED", { permission });
  });

  it("is judged again, once, when the key log grows between check and commit", async () => {
    const permission = await world.permission(TRAIN, world.context());
    const before = world.keyLog.current().count;
    let refreshed = 0;
    const kernel = world.kernel({
      keys: {
        current: () => world.keyLog.current(),
        refresh: () => {
          refreshed += 1;
          return world.keyLog.refresh();
        },
      },
    });
    // Another process enrols a key: the log grows, our view does not.
    world.log.entries.push(...(await growth(world)));
    const request = { action: TRAIN, context: world.context(), approvals: [] };
    const outcome = await kernel.execute({ ...request, authorization: permission });
    expect(outcome).toMatchObject({ status: "COMPLETED" });
    expect(refreshed).toBe(1);
    expect(world.keyLog.current().count).toBe(before + 1);
  });
});

/** One key event, appended behind the back of the world's own key log. */
async function growth(world: World) {
  const { KeyLog } = await import("../../src/authority/index.ts");
  const added: typeof world.log.entries = [];
  const shadow = new KeyLog(
    {
      read: (from) => Promise.resolve([...world.log.entries, ...added].slice(from)),
      append: (_sequence, events) => {
        const timestamp = world.clock.now().toISOString();
        for (const event of events) added.push({ ...event, timestamp, hash: GENESIS_HASH });
        return Promise.resolve(true);
      },
    },
    `ins_${"a".repeat(20)}`,
    world.clock,
  );
  await shadow.refresh();
  await shadow.introduce(world.keystore, { purpose: "role", role: "newcomer" });
  return added;
}

describe("an approval", () => {
  const context = (): ActionContext => world.context({ role: "deployer" });
  /** The bad one is named, and the good one beside it still counts: the run waits for the other. */
  const withBad = async (bad: Envelope, code: string): Promise<void> => {
    const good = await world.approve("release_manager", PROMOTE, context());
    const outcome = await execute({ action: PROMOTE, context: context(), approvals: [bad, good] });
    expectRefused(outcome, "PENDING", "ERR_APPROVAL_REQUIRED", "execution.pending");
    const named = { approved_by: ["release_manager"], left_out: [{ approval: 1, code }] };
    expect(world.recorder.records.at(-1)?.data).toMatchObject(named);
    expect(outcome.status === "PENDING" && outcome.reason).toContain(code);
  };

  it("is left out for another action, another context, after its time and from a stranger", async () => {
    await withBad(await world.approve("safety_officer", TRAIN, context()), "ERR_APPROVAL_ACTION");
    await withBad(
      await world.approve("safety_officer", PROMOTE, world.context()),
      "ERR_APPROVAL_CONTEXT",
    );
    await withBad(await world.approve("intruder", PROMOTE, context()), "ERR_APPROVAL_WRONG_KEY");
    const old = await world.approve("safety_officer", PROMOTE, context());
    world.clock.ms += 16 * 60_000;
    await withBad(old, "ERR_APPROVAL_EXPIRED");
    await withBad({ ...old, payload: "" }, "ERR_APPROVAL_SIGNATURE");
    const binding = await world.authority.issueBinding(PROMOTE, context());
    await withBad(binding, "ERR_APPROVAL_WRONG_KEY");
  });

  it("is left out after the approver's key was revoked", async () => {
    const late = await world.approve("safety_officer", PROMOTE, context());
    const keyId = world.keyIdOf("approval", "safety_officer");
    await world.keyLog.revoke(world.keystore, keyId, "left", false);
    await withBad(late, "ERR_APPROVAL_KEY_REVOKED");
  });

  it("does not keep the others from being enough when it is bad", async () => {
    const bad = await world.approve("intruder", PROMOTE, context());
    const good = await world.approve("release_manager", PROMOTE, context());
    const also = await world.approve("safety_officer", PROMOTE, context());
    const approvals = [bad, good, also];
    const outcome = await execute({ action: PROMOTE, context: context(), approvals });
    expect(outcome).toMatchObject({ status: "COMPLETED" });
    const intent = world.recorder.records.at(-2);
    const names = Object.keys(intent?.data["envelopes"] as object);
    expect(names).toEqual(["role", "binding", "approval_1", "approval_2"]);
    expect(intent?.envelopes).not.toContainEqual(bad);
  });

  it("counts once for one approver, whatever keys they have", async () => {
    const first = await world.approve("release_manager", PROMOTE, context());
    const same = { purpose: "approval", role: "release_manager" } as const;
    await world.keyLog.introduce(world.keystore, same, { another: true });
    const second = await world.approve("release_manager", PROMOTE, context());
    const approvals = [first, second];
    const outcome = await execute({ action: PROMOTE, context: context(), approvals });
    expectRefused(outcome, "PENDING", "ERR_APPROVAL_REQUIRED", "execution.pending");
    expect(outcome).toMatchObject({ approvedBy: ["release_manager"] });
    expect(outcome).toMatchObject({ leftOut: [{ approval: 2, code: "ERR_APPROVAL_REPEATED" }] });
  });
});
