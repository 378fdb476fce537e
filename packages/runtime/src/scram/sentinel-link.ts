import { closeSync, constants, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseFormat,
  type ScramScope,
  SovereignError,
  fixClass,
  notMade,
  refuseDerived,
} from "@sovereign/core";
import { type Clock, kindAt } from "../system/index.ts";
import type { ScramGate } from "../kernel/index.ts";
import { Crowd, identify, stateOf } from "../process/index.ts";
import { Frames, readFrame } from "./frames.ts";
import { ScramLatch } from "./latch.ts";
import {
  ENGINE_SOCKET,
  SENTINEL_SOCKET,
  type SentinelMessage,
  sentinelMessage,
} from "./protocol.ts";
import { describeScope, scopeCovers, type WorkOwner } from "./scope.ts";
import { type StartedSentinel, StartPatience } from "./start-patience.ts";

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const RETRY_MS = 15;
/** After this many unanswered pings the sentinel counts as dead: nothing runs without it. */
const PING_MS = 250;
const SILENT_PINGS = 6;
/** One that waits for a processor is given longer: whoever watches it ends it sooner than this. */
const STARVED_PINGS = 16;

export interface LinkOptions {
  /** The kill switch's folder. */
  readonly folder: string;
  readonly clock: Clock;
  /** Start a sentinel; called when none answers, and none that was started is on its way. */
  readonly start: () => StartedSentinel | null;
  /** How long to wait for one that makes no progress. */
  readonly patienceMs?: number;
}

type Refusal = Extract<ReturnType<ScramGate["preflight"]>, { armed: false }>;

const UNLEASED: Refusal = Object.freeze<Refusal>({
  armed: false,
  code: "ERR_SCRAM_LEASE",
  reason: "without word of the other machines: their orders could not be read for too long",
});

const NOBODY = (): void => undefined;

/**
 * A control's connection to the sentinel, and its pre-flight check: armed means that the latch is
 * off, that no stop was announced, and that the sentinel lives.
 */
export class ScramLink implements ScramGate {
  readonly #latch: ScramLatch;
  readonly #folder: number;
  readonly #frames: Frames;
  readonly #waiting = new Map<
    number,
    { resolve: (value: JsonValue) => void; reject: (error: Error) => void }
  >();
  readonly #stops: { scope: ScramScope; reason: string }[] = [];
  readonly #listeners = new Set<(refusal: Refusal) => void>();
  readonly #timer: NodeJS.Timeout;
  #lost = false;
  /** Work of other machines is heard of; always so where this is the only one. */
  #leased = true;
  #closing = false;
  #next = 0;
  #pings = 0;
  #crowd = new Crowd(null);
  #id = "";
  #pid: number | null = null;
  #name = "";
  #onRecorded: () => void = NOBODY;
  #onTerminate: (pathId: string, deadlineMs: number) => void = NOBODY;

  private constructor(latch: ScramLatch, folder: number, socket: Socket) {
    this.#latch = latch;
    this.#folder = folder;
    this.#frames = new Frames(socket, (_, content) => {
      this.#take(parseFormat(sentinelMessage, readFrame(content), "sentinel message"));
    });
    socket.on("close", () => {
      this.#onClosed();
    });
    this.#timer = setInterval(() => {
      this.#ping();
    }, PING_MS);
    this.#timer.unref();
    refuseDerived(new.target, ScramLink);
    Object.freeze(this);
  }

  /** @throws TypeError for what is no connection of ours: it would say of the switch what it likes */
  static assertMade(one: unknown): void {
    if (typeof one !== "object" || one === null || !(#latch in one))
      throw notMade("a connection to the sentinel");
  }

  /**
   * Called when a stop was carried out and is in the journal. Set once, by who takes that elsewhere.
   * @throws TypeError the second time: whoever holds the connection keeps no stop from being taken there
   */
  set onRecorded(told: () => void) {
    if (this.#onRecorded !== NOBODY) throw new TypeError("Somebody is told of stops already.");
    this.#onRecorded = told;
  }

  /**
   * Called with a path that the sentinel wants ended. Set once, by an embedding program.
   * @throws TypeError the second time: one connection has the handlers of one member
   */
  set onTerminate(told: (pathId: string, deadlineMs: number) => void) {
    if (this.#onTerminate !== NOBODY) throw new TypeError("This connection has a member already.");
    this.#onTerminate = told;
  }

  /**
   * Connect to the sentinel of a data folder, starting one where none answers.
   * @throws ERR_SCRAM_SENTINEL_START when none answers in time
   */
  static async connect(options: LinkOptions): Promise<ScramLink> {
    const { folder, clock, start, patienceMs } = options;
    const latch = new ScramLatch(folder);
    const handle = openSync(folder, FOLDER);
    const patience = new StartPatience(clock, start, patienceMs);
    try {
      while (!patience.over) {
        const link = await ScramLink.#attempt(latch, handle);
        if (link !== null) return link;
        patience.startWhereNeeded();
        await sleep(RETRY_MS);
      }
    } catch (error) {
      closeSync(handle);
      throw error;
    }
    closeSync(handle);
    throw new SovereignError(
      "ERR_SCRAM_SENTINEL_START",
      `No sentinel answers in ${folder} after ${Math.round(patience.waitedMs / 1000)} s, and nothing runs without one. Look at ${join(folder, "sentinel.log")}.`,
      { folder },
    );
  }

  /** Connect to a sentinel that runs already; null when there is none, and none is in a link's folder. */
  static async find(folder: string): Promise<ScramLink | null> {
    if (kindAt(folder) !== "folder") return null;
    const latch = new ScramLatch(folder);
    const handle = openSync(folder, FOLDER);
    const link = await ScramLink.#attempt(latch, handle);
    if (link === null) closeSync(handle);
    return link;
  }

  static async #attempt(latch: ScramLatch, handle: number): Promise<ScramLink | null> {
    const socket = await tryConnect(handle, SENTINEL_SOCKET);
    if (socket === null) return null;
    const link = new ScramLink(latch, handle, socket);
    if (await link.#greet()) return link;
    clearInterval(link.#timer);
    return null;
  }

  /** The sentinel's name for this connection: paths are registered under it. */
  get id(): string {
    return this.#id;
  }

  /** The installation's name in control groups. */
  get name(): string {
    return this.#name;
  }

  get alive(): boolean {
    return !this.#lost;
  }

  preflight(owner: WorkOwner | null = null): ReturnType<ScramGate["preflight"]> {
    if (this.#lost) {
      const reason = "the sentinel does not answer";
      return { armed: false, code: "ERR_SCRAM_SENTINEL_LOST", reason };
    }
    const gate = this.#stopped(owner);
    // A stop stays until people lift it; that nothing is heard may be over in a moment.
    return gate.armed && !this.#leased ? UNLEASED : gate;
  }

  #stopped(owner: WorkOwner | null): ReturnType<ScramGate["preflight"]> {
    if (this.#stops.length > 0) {
      // What was announced may have been lifted since: the latch knows.
      const gate = this.#latch.preflight(owner);
      if (gate.armed) this.#stops.length = 0;
      return gate;
    }
    return this.#latch.preflightWatched(owner);
  }

  /**
   * Call back when work of this owner must stop: the switch trips, or the sentinel is lost.
   * @returns a function that stops listening
   */
  onStop(whose: WorkOwner, stop: (refusal: Refusal) => void): () => void {
    const owner = Object.freeze({ tenant_id: whose.tenant_id, run_id: whose.run_id });
    const listener = (refusal: Refusal & { scope?: ScramScope }): void => {
      if (refusal.scope === undefined || scopeCovers(refusal.scope, owner)) stop(refusal);
    };
    this.#listeners.add(listener);
    const gate = this.preflight(owner);
    if (!gate.armed) stop(gate);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Ask the sentinel.
   * @throws what the sentinel refuses with, or ERR_SCRAM_SENTINEL_LOST
   */
  request(message: { t: string } & JsonObject): Promise<JsonValue> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      if (this.#lost) {
        reject(lost());
        return;
      }
      this.#waiting.set(id, { resolve, reject });
      this.#frames.sendJson({ ...message, id });
    });
  }

  /** A connection to the engine, once it is ready. Null when it went away in between. */
  async connectEngine(): Promise<Socket | null> {
    await this.request({ t: "engine" });
    return tryConnect(this.#folder, ENGINE_SOCKET);
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#frames.socket.destroy();
    clearInterval(this.#timer);
    closeSync(this.#folder);
  }

  async #greet(): Promise<boolean> {
    const own = identify(process.pid);
    try {
      const welcome = (await this.request({
        t: "hello",
        process: { pid: process.pid, started: own?.started ?? "" },
      })) as {
        link_id: string;
        name: string;
        pid: number;
        lease: boolean;
        time_file?: string | null;
      };
      this.#id = welcome.link_id;
      this.#pid = welcome.pid;
      this.#name = welcome.name;
      this.#leased = welcome.lease;
      this.#crowd = new Crowd(welcome.time_file ?? null);
      return true;
    } catch (error) {
      // It went away, or refuses us: whoever asks tries again.
      if (!isSovereignError(error)) throw error;
      return false;
    }
  }

  #take(message: SentinelMessage): void {
    if (message.t === "tripped") {
      const { scope, reason, event_id } = message;
      this.#stops.push({ scope, reason });
      const text = `tripped for ${describeScope(scope)}, ${reason}: ${event_id}`;
      this.#tell({ armed: false, code: "ERR_SCRAM_TRIPPED", reason: text }, scope);
      return;
    }
    if (message.t === "terminate") {
      this.#onTerminate(message.path_id, message.deadline_ms);
      return;
    }
    if (message.t === "recorded") {
      this.#onRecorded();
      return;
    }
    if (message.t === "lease") {
      this.#leased = message.live;
      if (!message.live) this.#tell(UNLEASED);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.t === "reply") waiting?.resolve(message.result);
    else waiting?.reject(new SovereignError(message.code, message.message));
  }

  #tell(refusal: Refusal, scope?: ScramScope): void {
    const told = scope === undefined ? refusal : { ...refusal, scope };
    for (const listener of [...this.#listeners]) {
      try {
        listener(Object.freeze({ ...told }));
      } catch {
        // One that fails keeps no other from being told.
      }
    }
  }

  /** Unanswered pings are counted, not time: a control that was busy itself proves nothing. */
  #ping(): void {
    // Asked at each one without an answer: what the paths did is told by two looks.
    const starved = this.#pings > 0 && this.#starved();
    if (this.#pings >= SILENT_PINGS && (this.#pings >= STARVED_PINGS || !starved)) {
      this.#frames.socket.destroy();
      return;
    }
    this.#pings += 1;
    this.request({ t: "ping" }).then(
      () => {
        this.#pings = 0;
        this.#crowd.forget();
      },
      () => undefined,
    );
  }

  #starved(): boolean {
    const state = this.#pid === null ? null : stateOf(this.#pid);
    return state === "R" || (state === "D" && this.#crowd.isOfOthers());
  }

  #onClosed(): void {
    this.#lost = true;
    clearInterval(this.#timer);
    for (const { reject } of this.#waiting.values()) reject(lost());
    this.#waiting.clear();
    if (this.#closing) return;
    const reason = "the sentinel does not answer";
    this.#tell({ armed: false, code: "ERR_SCRAM_SENTINEL_LOST", reason });
  }
}

fixClass(ScramLink);

/** Through the folder's descriptor: a socket's path has room for about a hundred characters. */
function tryConnect(folder: number, name: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(`/proc/self/fd/${folder}/${name}`);
    socket.once("connect", () => {
      resolve(socket);
    });
    socket.once("error", () => {
      resolve(null);
    });
  });
}

function lost(): SovereignError {
  return new SovereignError(
    "ERR_SCRAM_SENTINEL_LOST",
    "The sentinel does not answer. What ran under it is killed by its dead-man and by the kernel; whether anything lives says: sovereign scram status. Start again to get a new sentinel.",
  );
}
