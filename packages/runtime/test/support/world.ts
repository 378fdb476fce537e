import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Action,
  type ActionContext,
  digestOf,
  type Envelope,
  GENESIS_HASH,
  INSTALLATION_LOG,
  SovereignError,
  utf8Encode,
} from "@sovereign/core";
import {
  Authority,
  INSTALLATION_KEYS,
  KeyLog,
  type KeyLogEntry,
  type KeyLogStore,
  type NewKeyEvent,
  Keystore,
} from "../../src/authority/index.ts";
import { type Clock, systemEntropy } from "../../src/system/index.ts";
import {
  createKernel,
  type EffectResult,
  type Kernel,
  type KernelOptions,
  type LedgerRecord,
  type Recorder,
  type RecordVerdict,
} from "../../src/kernel/index.ts";
import { createEntry, EMPTY_STREAM, type EntryFields } from "../../src/ledger/index.ts";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";

/** A clock that stands still until it is moved. */
export class TestClock implements Clock {
  ms = Date.parse("2026-01-01T00:00:00.000Z");
  now(): Date {
    return new Date(this.ms);
  }
  monotonicMs(): number {
    return this.ms;
  }
}

/** A key log in memory. */
class MemoryKeyLog implements KeyLogStore {
  readonly entries: KeyLogEntry[] = [];
  readonly #clock: Clock;
  #head = EMPTY_STREAM;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  read(from: number): Promise<KeyLogEntry[]> {
    return Promise.resolve(this.entries.slice(from));
  }

  append(sequence: number, events: readonly NewKeyEvent[]): Promise<boolean> {
    if (sequence !== this.entries.length) return Promise.resolve(false);
    const timestamp = this.#clock.now().toISOString();
    for (const event of events) {
      const { hash, head } = createEntry(this.#head, keyEntry({ ...event, timestamp }));
      this.entries.push({ ...event, timestamp, hash });
      this.#head = head;
    }
    return Promise.resolve(true);
  }
}

/** What the ledger's entry of a key event says. */
export function keyEntry({
  eventType,
  timestamp,
  envelope,
}: Omit<KeyLogEntry, "hash">): EntryFields {
  const data = { envelopes: { key_event: digestOf(envelope) } };
  const place = { stream: "keys", tenantId: INSTALLATION_LOG, runId: null };
  return { ...place, timestamp, eventType, severity: "INFO", data };
}

/** A ledger in memory: judges nonces and key epochs as the real one does, and can fail. */
export class MemoryRecorder implements Recorder {
  readonly records: LedgerRecord[] = [];
  readonly #nonces = new Set<string>();
  readonly #keyCount: () => number;
  /** Events whose next record fails, as when the database is gone. */
  failOn: string[] = [];
  refusal: Extract<RecordVerdict, { status: "refused" }> | null = null;
  /** The next intent is refused as judged by a key log that has grown since. */
  staleOnce = false;
  /** The next record is refused as no entry. */
  invalidOnce = false;

  constructor(keyCount: () => number) {
    this.#keyCount = keyCount;
  }

  record(_runId: string, record: LedgerRecord): Promise<RecordVerdict> {
    const at = this.failOn.indexOf(record.event);
    if (at >= 0) {
      this.failOn.splice(at, 1);
      return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "gone"));
    }
    return Promise.resolve(this.#judge(record));
  }

  #judge(record: LedgerRecord): RecordVerdict {
    if (this.refusal !== null && record.event === "execution.authorized") return this.refusal;
    if (this.invalidOnce) {
      this.invalidOnce = false;
      return { status: "refused", reason: "invalid", detail: "no entry" };
    }
    if (this.staleOnce && record.keyEpoch !== null) {
      this.staleOnce = false;
      return { status: "refused", reason: "key_epoch", detail: "the key log has grown" };
    }
    if (record.keyEpoch !== null && record.keyEpoch !== this.#keyCount()) {
      return { status: "refused", reason: "key_epoch", detail: "the key log has grown" };
    }
    if (record.nonces.some(({ nonce }) => this.#nonces.has(nonce))) {
      return { status: "refused", reason: "nonce_used", detail: "used before" };
    }
    for (const { nonce } of record.nonces) this.#nonces.add(nonce);
    this.records.push(record);
    return { status: "committed", index: this.records.length - 1 };
  }

  get events(): string[] {
    return this.records.map((record) => record.event);
  }
}

const POLICY = `
policy_id: test
schema_version: 1.0.0
operations: [model.train, model.promote, model.rollback, model.break, agent.judge]
allowed_git_operations: [git_commit]
approvals:
  - { operations: [model.promote, git.bring_back], required: 2, roles: [release_manager, safety_officer, steward] }
`;

export const TRAIN: Action = { type: "model.train", resource: "m", params: { trees: 3 } };
export const PROMOTE: Action = { type: "model.promote", resource: "m", params: {} };

/** Everything that a kernel needs, in memory, with real keys and a real policy. */
export class World {
  readonly clock = new TestClock();
  readonly log = new MemoryKeyLog(this.clock);
  readonly keyLog = new KeyLog(this.log, `ins_${"a".repeat(20)}`, this.clock);
  readonly recorder = new MemoryRecorder(() => this.log.entries.length);
  readonly policy: PolicyEngine;
  readonly folder = mkdtempSync(join(tmpdir(), "sov-world-"));
  armed = true;
  effects = 0;
  result: EffectResult | Error = {
    status: "completed",
    output: { done: true },
    artifacts: [],
    usage: { wall_ms: 1, output_bytes: 0 },
  };
  keystore!: Keystore;
  authority!: Authority;

  constructor(policy: string = POLICY) {
    this.policy = new PolicyEngine(parsePolicy(utf8Encode(policy), "policy.yaml"));
  }

  static async create(policy = POLICY): Promise<World> {
    const world = new World(policy);
    world.keystore = await Keystore.open({ folder: join(world.folder, "keys"), passphrase: null });
    await world.keyLog.initialise(world.keystore, [
      ...INSTALLATION_KEYS,
      { purpose: "role", role: "trainer" },
      { purpose: "role", role: "deployer" },
      { purpose: "approval", role: "release_manager" },
      { purpose: "approval", role: "safety_officer" },
      { purpose: "approval", role: "intruder" },
      { purpose: "approval", role: "stranger" },
    ]);
    world.authority = world.authorityFor((action, context) => world.policy.decide(action, context));
    return world;
  }

  authorityFor(decide: ConstructorParameters<typeof Authority>[0]["decide"]): Authority {
    return new Authority({
      keystore: this.keystore,
      keys: () => this.keyLog.current(),
      decide,
      clock: this.clock,
      entropy: systemEntropy,
    });
  }

  kernel(more: Partial<KernelOptions> = {}): Kernel {
    const effect = (): Promise<EffectResult> => {
      this.effects += 1;
      return this.result instanceof Error
        ? Promise.reject(this.result)
        : Promise.resolve(this.result);
    };
    return createKernel({
      scram: {
        preflight: () =>
          this.armed
            ? { armed: true }
            : { armed: false, code: "ERR_SCRAM_TRIPPED", reason: "tripped" },
      },
      policy: this.policy,
      keys: { current: () => this.keyLog.current(), refresh: () => this.keyLog.refresh() },
      recorder: this.recorder,
      effects: {
        "model.train": effect,
        "model.promote": effect,
        "model.rollback": effect,
        "model.delete": effect,
        "agent.judge": effect,
        "agent.run": effect,
        "command.run": effect,
        "git.commit": effect,
        "git.bring_back": effect,
        "skill.http_call": effect,
        "skill.slack_send": effect,
      },
      clock: this.clock,
      ...more,
    });
  }

  context(more: Partial<ActionContext> = {}): ActionContext {
    return {
      tenant_id: "acme",
      run_id: `run_${"a".repeat(20)}`,
      step_id: "step",
      attempt: 1,
      role: "trainer",
      mode: "sovereign",
      config_digest: GENESIS_HASH,
      policy_digest: this.policy.policyDigest,
      ...more,
    };
  }

  permission(
    action: Action,
    context: ActionContext,
  ): Promise<{ role: Envelope; binding: Envelope }> {
    return this.authority.issueAuthorization(action, context);
  }

  approve(approver: string, action: Action, context: ActionContext): Promise<Envelope> {
    return this.authority.issueApproval(approver, digestOf(action), digestOf(context));
  }

  keyIdOf(purpose: string, role: string | null = null): string {
    const found = this.keyLog
      .current()
      .windows.find(({ record }) => record.purpose === purpose && record.role === role);
    return found?.record.key_id ?? "";
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
