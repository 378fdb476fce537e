import { closeSync } from "node:fs";
import type { Server } from "node:net";
import { join } from "node:path";
import { cutText, type JsonObject, type JsonValue, SovereignError } from "@sovereign/core";
import { openOwnLog, removeAt, every } from "../system/index.ts";
import { ControlGroups } from "../process/index.ts";
import {
  EnvelopeStore,
  Journal,
  KnownKeys,
  ScramLatch,
  type ClientMessage,
  SENTINEL_SOCKET,
  doubtOf,
  groupNameOf,
  readingOf,
  type Signal,
  watchSignalFile,
} from "../scram/index.ts";
import { type Activation, type ActivationParts, activate, unauthorizedStop } from "./activation.ts";
import { Admission } from "./admission.ts";
import { BoundedRecord } from "./bounded-journal.ts";
import { takeWaiting, watchCalls } from "./call-files.ts";
import { EmbeddedPaths } from "./embedded-programs.ts";
import { LeaseGuard } from "./lease-guard.ts";
import { type Link, listenForLinks, pushToAll } from "./control-connections.ts";
import { MemoryGuard } from "./memory-guard.ts";
import { MergedStops } from "./merged-stops.ts";
import { NetworkOrders } from "./network-orders.ts";
import { type OrderDecision, OrderDesk } from "./order-desk.ts";
import { OwnFolder } from "./folder-identity.ts";
import { PathKeeper } from "./path-keeper.ts";
import { PeerOrders } from "./peer-orders.ts";
import { ResetDesk } from "./reset-desk.ts";
import { SELF_PROOF_OWNER, SelfProof } from "./self-proof.ts";
import { passesSelfTest } from "./self-test.ts";
import type { SentinelOptions } from "./sentinel-options.ts";
import { StopBook } from "./stops-in-force.ts";
import { Watchdog } from "./watchdog.ts";

const WARM_UP = 20;
const LEFT = "sentinel.stopped";
const EVERY_MS = { discovery: 2000, selfTest: 1000, idleCheck: 50 };

/** One process for one data folder: judges orders, stops, and records. */
export class Sentinel {
  readonly #options: SentinelOptions;
  readonly #name: string;
  readonly #latch: ScramLatch;
  readonly #journal: Journal;
  readonly #envelopes: EnvelopeStore;
  readonly #root: ControlGroups;
  readonly #stops: StopBook;
  readonly #paths: PathKeeper;
  readonly #embedded = new EmbeddedPaths();
  readonly #links = new Map<string, Link>();
  readonly #desk: OrderDesk;
  readonly #resets: ResetDesk;
  readonly #network: NetworkOrders;
  readonly #peers: PeerOrders;
  readonly #watchdog: Watchdog;
  readonly #lease: LeaseGuard;
  readonly #stderr: number;
  readonly #keys: KnownKeys;
  readonly #ownFolder: OwnFolder;
  readonly #admission: Admission;
  readonly #merged: MergedStops<JsonObject>;
  readonly #memory: MemoryGuard;
  readonly #refusals: BoundedRecord;
  /** Why it was not proved, when we came, that every stop is in the journal. */
  readonly #doubt: string | null;
  readonly #selfProof: SelfProof;
  #running = 0;
  #idleSince: number;
  #ended: () => void = () => undefined;

  readonly #refused = (code: string, reason: string, more: JsonObject = {}): JsonObject => {
    const said = { code, reason: cutText(reason, 300) };
    // A flood must not fill the disk.
    this.#refusals.note("order.refused", { ...said, ...more });
    return { refused: said };
  };

  readonly #log = (event: string, data: JsonObject): void => {
    if (this.#ownFolder.gone) return;
    this.#journal.append(event, this.#options.clock.now().toISOString(), data);
  };

  constructor(options: SentinelOptions) {
    const { folder, config, clock } = options;
    this.#options = options;
    const log = this.#log;
    const refused = this.#refused;
    this.#name = groupNameOf(folder);
    this.#ownFolder = new OwnFolder(folder);
    this.#merged = new MergedStops(clock, () => this.#stops.everythingStopped && this.#live === 0);
    this.#latch = new ScramLatch(folder);
    this.#journal = Journal.claim(join(folder, "journal.jsonl"));
    this.#envelopes = new EnvelopeStore(join(folder, "envelopes"));
    this.#root = ControlGroups.root(this.#name);
    this.#root.prefer(false);
    this.#stops = new StopBook(this.#latch, this.#journal);
    this.#admission = new Admission(this.#stops, () => this.#lease);
    this.#doubt = doubtOf(folder, this.#latch, this.#journal);
    this.#stderr = openOwnLog(join(folder, "engine.log"));
    this.#paths = this.#newPaths(log);
    this.#keys = new KnownKeys(folder);
    this.#desk = new OrderDesk({
      keys: () => this.#keys.current(),
      clock,
      journal: this.#journal,
      windowMs: config.authorization_timeout_seconds * 1000,
    });
    this.#resets = new ResetDesk({
      desk: this.#desk,
      stops: this.#stops,
      envelopes: this.#envelopes,
      running: () => this.#running,
      living: () => this.#paths.living().length,
      log,
      refused,
    });
    this.#network = new NetworkOrders({
      desk: this.#desk,
      clock,
      journal: this.#journal,
      activate: (activation) => this.#activate(activation),
    });
    this.#peers = new PeerOrders({
      desk: this.#desk,
      activate: (activation) => this.#activate(activation),
      refused,
    });
    this.#refusals = new BoundedRecord(clock, log);
    this.#memory = new MemoryGuard({
      stops: this.#stops,
      journal: this.#journal,
      clock,
      log,
      stop: (why) => this.#stopOnFault("invariant", why),
    });
    this.#watchdog = new Watchdog(config.hardware_watchdog);
    this.#lease = new LeaseGuard({
      ms: config.lease_ms,
      required: options.shared,
      clock,
      maxTerminationMs: config.max_termination_ms,
      paths: this.#paths,
      embedded: this.#embedded,
      links: this.#links,
      log,
      onFault: (why) => void this.#stopOnFault("sentinel_fault", why),
    });
    this.#selfProof = this.#watchOurselves();
    this.#idleSince = clock.monotonicMs();
  }

  #newPaths(log: (event: string, data: JsonObject) => void): PathKeeper {
    const { folder, config, clock, engineCommand, searchPath } = this.#options;
    return new PathKeeper({
      name: this.#name,
      root: this.#root,
      folder,
      clock,
      maxTerminationMs: config.max_termination_ms,
      engineCommand,
      searchPath,
      stderr: this.#stderr,
      refusal: (owner) => this.#admission.refusal(owner),
      isLinked: (linkId) => this.#links.has(linkId),
      log,
      onFault: (why) => void this.#stopOnFault("engine_fault", why),
    });
  }

  #watchOurselves(): SelfProof {
    return new SelfProof({
      parts: () => this.#parts(),
      paths: this.#paths,
      mayRun: () => this.#running === 0 && this.#admission.refusal(SELF_PROOF_OWNER) === null,
      log: this.#log,
    });
  }

  /** Serve until nobody needs it. */
  async run(): Promise<void> {
    await this.#recover();
    this.#latch.reserve();
    for (let round = 0; round < WARM_UP; round++) passesSelfTest();
    const { folder, config } = this.#options;
    const onCall = (signal: Signal): Promise<JsonObject> => this.#onSignal(signal);
    const answers = await takeWaiting(folder, config.sentinel_path, onCall);
    const server = await this.#listen();
    this.#paths.watchOver();
    if (!this.#stops.everythingStopped) this.#paths.startEngine();
    const duties = [
      this.#selfProof.watch(),
      this.#ownFolder.watch(() => void this.#abandon()),
      watchSignalFile(folder, config.sentinel_path, (signal) => void this.#onSignal(signal)),
      watchCalls(folder, onCall, answers),
      every(EVERY_MS.selfTest, () => {
        if (!passesSelfTest()) void this.fault("the known-answer test of orders failed");
        if (!this.#ownFolder.gone) void this.#memory.lookAtJournal();
      }),
      every(EVERY_MS.discovery, () => void this.#discover()),
      every(EVERY_MS.idleCheck, () => {
        if (this.#running === 0 && !this.#ownFolder.gone) void this.#memory.lookAtLatch();
        this.#leaveWhenIdle();
      }),
    ];
    await new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    for (const end of duties) end();
    server.close();
    await this.#paths.close();
    this.#watchdog.close();
    this.#lease.lease.close();
    removeAt(SENTINEL_SOCKET);
    this.#log(LEFT, { pid: process.pid });
    closeSync(this.#stderr);
  }

  /** Kill all paths and leave, without tripping: for an orderly shutdown of the machine. */
  async shutdown(): Promise<void> {
    await this.#paths.killAll();
    this.#ended();
  }

  /** The last resort of a program that no longer knows its own state. */
  async fault(why: string): Promise<void> {
    await this.#stopOnFault("sentinel_fault", why);
  }

  /**
   * Our folder is gone, and with it what was recorded and whether we are tripped: nothing of ours goes
   * on, and nothing more is written, for what has the folder's name now is not ours.
   */
  async #abandon(): Promise<void> {
    const { clock, config } = this.#options;
    const deadline = clock.monotonicMs() + config.max_termination_ms;
    const others = this.#embedded.end({ kind: "all" }, deadline, () => clock.monotonicMs());
    await Promise.all([this.shutdown(), others]);
  }

  /**
   * What a sentinel before us left behind is dead before anything else happens, and what the journal
   * holds is in force again. Stopped, unless it is proved that no stop was lost.
   */
  async #recover(): Promise<void> {
    this.#keys.current();
    const unclean = (this.#journal.lines.at(-1)?.event ?? LEFT) !== LEFT;
    const restored = this.#stops.restore().map(({ event_id }) => event_id);
    const { found, stragglers } = await this.#paths.killAll();
    // Before the first line that says that there is a proof.
    if (this.#doubt === null) this.#stops.settle();
    const settled = this.#doubt === null;
    this.#log("sentinel.started", { pid: process.pid, unclean, left: found, settled });
    if (restored.length > 0) this.#log("latch.restored", { event_ids: restored });
    for (const stop of this.#stops.interrupted()) {
      const why = "the sentinel died while it stopped; what it left is dead now";
      const activation = { ...this.#unauthorized("sentinel_fault", why), ...stop };
      await this.#activate(activation, stop.event_id);
    }
    // What is latched and recorded is nothing new.
    for (const stop of this.#stops.inForce() ?? []) this.#stops.add(stop);
    if (stragglers > 0) await this.fault("processes of an earlier sentinel did not die");
    if (this.#doubt !== null && !this.#stops.everythingStopped) await this.fault(this.#doubt);
    // Before anybody can ask for a reset: one that found it later would leave this stop in force.
    await this.#memory.lookAtLatch();
    this.#stops.settle();
  }

  #listen(): Promise<Server> {
    return listenForLinks(this.#links, {
      onMessage: (from, message) => this.#onMessage(from, message),
      onGarbage: (_, error) => {
        this.#refused("garbage", error.message);
      },
      needed: () => new Set([...this.#paths.linkIds, ...this.#embedded.linkIds]),
      onClose: ({ id }) => {
        this.#embedded.remove(id, null);
        // Dead control: nobody is left to record what its paths do.
        void this.#paths.killPathsOf(id, null);
      },
    });
  }

  #leaveWhenIdle(): void {
    const { clock, config } = this.#options;
    const now = clock.monotonicMs();
    // Whoever is connected may be about to say what they came for.
    const needed =
      this.#links.size > 0 ||
      this.#live + this.#running > 0 ||
      this.#desk.waiting ||
      this.#stops.unlatched;
    if (needed) this.#idleSince = now;
    else if (now - this.#idleSince > config.linger_seconds * 1000) this.#ended();
  }

  /** Processes of ours that no path on the list accounts for are an incident. */
  async #discover(): Promise<void> {
    const found = await this.#paths.discover();
    if (found.length === 0 || this.#stops.everythingStopped) return;
    this.#log("discovery.found", { unregistered: found.slice(0, 20) });
    if (!this.#options.config.strict_discovery) return;
    void this.#stopOnFault("invariant", `${found.length} execution paths are not on the list`);
  }

  get #live(): number {
    return this.#paths.size + this.#embedded.size;
  }

  #onMessage(link: Link, message: ClientMessage): Promise<JsonValue> {
    const now = this.#options.clock.monotonicMs();
    return this.#onControl(link, message) ?? this.#onOrder(message, now);
  }

  /** What controls and embedding programs say. Null for what is about orders. */
  #onControl(link: Link, message: ClientMessage): Promise<JsonValue> | null {
    switch (message.t) {
      case "hello":
        link.process = message.process;
        return Promise.resolve({
          link_id: link.id,
          name: this.#name,
          pid: process.pid,
          lease: this.#lease.lease.live,
          time_file: this.#root.timeFile,
        });
      case "ping":
        return Promise.resolve({});
      case "status":
        return Promise.resolve(this.#status());
      case "engine":
        return this.#readyEngine();
      case "kill":
        return this.#paths.killPathsOf(link.id, message.path_id).then(() => ({}));
      case "register":
        return this.#register(link, message);
      case "unregister":
        this.#embedded.remove(link.id, message.path_id);
        return Promise.resolve({});
      case "terminated":
        this.#embedded.terminated(link.id, message.path_id, message.ok);
        return Promise.resolve({});
      case "lease":
        link.reads = true;
        this.#lease.lease.renew(message.read_at, link.process?.pid ?? null);
        return Promise.resolve({ live: this.#lease.lease.live });
      default:
        return null;
    }
  }

  async #onOrder(message: ClientMessage, receivedAt: number): Promise<JsonValue> {
    switch (message.t) {
      case "order":
        return this.#decided(this.#desk.receive(message.envelope, "local", receivedAt));
      case "authorize":
        return this.#decided(this.#desk.authorize(message.envelope, "local", receivedAt));
      case "peer":
        return this.#peers.receive(message, receivedAt);
      case "present":
        return this.#network.present(message, receivedAt);
      case "refusals":
        return this.#network.refusals(message);
      case "pending":
        return { envelope: this.#desk.pending() };
      case "resettable":
        return { event_ids: this.#stops.resettable() };
      case "reset":
        return this.#resets.reset(message.envelope, message.commit)
          ? this.#status()
          : { authorized: true };
      default:
        throw new SovereignError("ERR_SCRAM_ORDER_MALFORMED", `Unknown message ${message.t}.`);
    }
  }

  async #register(link: Link, message: ClientMessage & { t: "register" }): Promise<JsonValue> {
    const { path_id, tenant_id, run_id, handler } = message;
    this.#admission.require(message);
    this.#embedded.add({ path_id, tenant_id, run_id, handler, link_id: link.id }, link);
    return Promise.resolve({});
  }

  async #readyEngine(): Promise<JsonValue> {
    if (this.#stops.everythingStopped) {
      throw new SovereignError("ERR_SCRAM_TRIPPED", "The kill switch is tripped: no engine runs.");
    }
    this.#lease.require();
    const engine = await this.#paths.readyEngine();
    return { pid: engine.identity.pid };
  }

  #status(): JsonObject {
    const stops = this.#stops.inForce();
    return {
      state: this.#running > 0 ? "EXECUTING" : this.#stops.state(this.#desk.waiting),
      stops: (stops ?? []).map((stop) => ({ ...stop })),
      readable: stops !== null,
      pid: process.pid,
      ...this.#paths.pids,
      paths: this.#live,
      level: this.#paths.level,
      watchdog: this.#watchdog.held,
      self_proof: this.#selfProof.report,
      ...this.#lease.lease.report,
      lease_readers: [...this.#links.values()].filter((link) => link.reads).length,
    };
  }

  /** @returns the stop that it led to, or why there is none */
  async #onSignal(signal: Signal): Promise<JsonObject> {
    const receivedAt = this.#options.clock.monotonicMs();
    if (signal.kind === "refused") return this.#refused(signal.code, `signal file: ${signal.why}`);
    if (signal.kind === "order") {
      const decision = this.#desk.receive(signal.envelope, "local", receivedAt);
      if (decision.kind === "refuse") return this.#refused(decision.code, decision.reason);
      return this.#decided(decision);
    }
    const { why, reason } = readingOf(signal);
    return this.#activate({ ...this.#unauthorized("signal_file", why), reason, receivedAt });
  }

  async #decided(decision: OrderDecision): Promise<JsonObject> {
    if (decision.kind === "refuse") {
      this.#refused(decision.code, decision.reason);
      throw new SovereignError(decision.code, `The order is refused: ${decision.reason}.`);
    }
    if (decision.kind === "pending") {
      const { orderId: order_id, missing } = decision;
      this.#log("authorization.pending", { order_id, missing });
      return { pending: { order_id, missing } };
    }
    return this.#activate(decision.activation);
  }

  async #stopOnFault(trigger: Activation["trigger"], why: string): Promise<void> {
    const reason = trigger === "invariant" ? "invariant_violation" : "system_critical";
    await this.#activate({ ...this.#unauthorized(trigger, why), reason });
  }

  #unauthorized(trigger: Activation["trigger"], refusal: string): Activation {
    return unauthorizedStop(trigger, refusal, this.#options.clock.monotonicMs());
  }

  #activate(activation: Activation, resumed: string | null = null): Promise<JsonObject> {
    const { authorized, scope } = activation;
    const alone = resumed !== null || authorized || scope.kind !== "all";
    if (alone) return this.#carryOut(activation, resumed);
    return this.#merged.run(() => this.#carryOut(activation, resumed));
  }

  async #carryOut(activation: Activation, resumed: string | null): Promise<JsonObject> {
    this.#running += 1;
    try {
      const { result } = await this.#paths.during(activation.scope, async () => {
        const done = await activate(this.#parts(), activation, resumed);
        return { result: done, stragglers: done.body.stragglers.length };
      });
      pushToAll(this.#links, { t: "recorded" });
      return { event: result.event, receipt: result.receipt, body: result.body };
    } finally {
      this.#running -= 1;
      if (this.#running === 0 && !this.#ownFolder.gone) this.#stops.settle();
    }
  }

  #parts(): ActivationParts {
    const { config, clock, signer } = this.#options;
    return {
      name: this.#name,
      installationId: this.#keys.installationId,
      config,
      clock,
      latch: this.#latch,
      journal: this.#journal,
      envelopes: this.#envelopes,
      root: this.#root,
      level: this.#paths.level,
      watchdogHeld: () => this.#watchdog.held,
      signer: () => signer(this.#keys.current()),
      targets: (scope) => this.#paths.targets(scope),
      unregistered: () => this.#paths.unregistered().length,
      admittedWhileTripped: () => this.#paths.admittedWhileTripped,
      endEmbedded: (scope, deadline) =>
        this.#embedded.end(scope, deadline, () => clock.monotonicMs()),
      runHooks: (scope) => this.#embedded.runHooks(scope),
      announce: (stop) => {
        this.#stops.add(stop);
        const { event_id, scope, reason } = stop;
        pushToAll(this.#links, { t: "tripped", event_id, scope, reason });
      },
    };
  }
}
