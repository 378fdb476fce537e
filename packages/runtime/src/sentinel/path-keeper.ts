import type { ErrorCode, JsonObject, KillReceipt, ScramScope } from "@sovereign/core";
import { type Clock, every } from "../system/index.ts";
import { type ControlGroups, isAlive, type ProcessIdentity } from "../process/index.ts";
import {
  type EngineMessage,
  SELF_PROOF_LINK,
  type StartedPathMessage,
  BEAT_MS,
  type WorkOwner,
  findOurs,
  findUnregistered,
  killPaths,
  type KillReport,
  type KillTargets,
  type LivePath,
} from "../scram/index.ts";
import { DeadMan } from "./dead-man.ts";
import { EngineProcess } from "./engine-process.ts";
import { PathRegistry } from "./path-registry.ts";

/** A path that is being set up is not on the list yet; one that is older should be. */
const DISCOVERY_GRACE_MS = 10_000;

/** Why a path may not be admitted, and what its control is told. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
}

const GONE: Refusal = {
  code: "ERR_SANDBOX_UNAVAILABLE",
  reason: "Whoever asked for the path is gone",
};

export interface PathKeeperOptions {
  readonly name: string;
  readonly root: ControlGroups;
  /** The kill switch's, where the dead-man reports. */
  readonly folder: string;
  readonly clock: Clock;
  readonly maxTerminationMs: number;
  readonly engineCommand: readonly string[];
  readonly searchPath: string;
  /** Where the engine's messages for people go. */
  readonly stderr: number;
  /** Null when a path of this owner may be admitted, else why not. */
  readonly refusal: (owner: WorkOwner) => Refusal | null;
  /** Whether whoever asked for the path is still there. */
  readonly isLinked: (linkId: string) => boolean;
  readonly log: (event: string, data: JsonObject) => void;
  /** The engine ended by itself, or did not answer, while paths lived. */
  readonly onFault: (why: string) => void;
}

/**
 * Owns the engine, the dead-man and the list of live paths, and kills them. Besides, an engine ends
 * its own paths, and a control what is left of its own where no sentinel lives.
 */
export class PathKeeper {
  readonly #options: PathKeeperOptions;
  readonly #registry = new PathRegistry();
  /** Paths that a stop is killing: who asks for their death waits for it. */
  readonly #dying = new Map<string, Promise<void>>();
  readonly #strangers = new Map<string, number>();
  readonly #notOurs = new Set<string>();
  #looking = false;
  #closed = false;
  #deadMan: DeadMan | null = null;
  #engine: EngineProcess | null = null;
  /** What a dead engine left is being killed; no other starts before it is gone. */
  #clearing: Promise<unknown> = Promise.resolve();
  #admittedWhileTripped = 0;
  #stops = 0;
  /** The path that is let in although no control asked for it. */
  #canary: string | null = null;
  #endBeats: () => void = () => undefined;

  constructor(options: PathKeeperOptions) {
    this.#options = options;
  }

  /** Without our own trial, which is no work. */
  get size(): number {
    return this.#registry.filter(({ path_id }) => path_id !== this.#canary).length;
  }

  /** Of the connections whose paths live. */
  get linkIds(): ReadonlySet<string> {
    return new Set(this.#registry.filter(() => true).map(({ link_id }) => link_id));
  }

  get level(): KillReceipt["rung"] {
    return this.#options.root.killable ? "G3" : "G2";
  }

  get pids(): { engine: number | null; dead_man: number | null } {
    const engine = this.#engine?.identity.pid ?? null;
    return { engine, dead_man: this.#deadMan?.pid ?? null };
  }

  /** Paths whose gate was opened although a stop covered them. Must stay 0. */
  get admittedWhileTripped(): number {
    return this.#admittedWhileTripped;
  }

  /** From here on sentinel, dead-man and engine watch each other. */
  watchOver(): void {
    const { root, folder, log } = this.#options;
    this.#deadMan = new DeadMan({
      root,
      folder,
      onLost: (why) => {
        log("deadman.lost", { why });
      },
    });
    this.#endBeats = every(BEAT_MS, () => {
      this.#deadMan?.beat();
      this.#engine?.beat();
    });
    this.#deadMan.beat();
  }

  /** The engine once it listens, started where none runs. */
  async readyEngine(): Promise<EngineProcess> {
    await this.#clearing;
    const engine = this.startEngine();
    await engine.ready;
    return engine;
  }

  /** The engine, started where none runs. */
  startEngine(): EngineProcess {
    if (this.#engine !== null) return this.#engine;
    const { engineCommand, name, root, stderr, searchPath } = this.#options;
    const engine: EngineProcess = new EngineProcess({
      command: engineCommand,
      name,
      root,
      searchPath,
      stderr,
      onMessage: (message) => {
        this.#onEngine(engine, message);
      },
      onExit: () => {
        this.#onEngineExit(engine, "ended");
      },
      onSilent: () => {
        this.#onEngineExit(engine, "did not answer");
        engine.kill();
      },
    });
    this.#engine = engine;
    this.#deadMan?.watch(engine.identity);
    return engine;
  }

  /** What a stop of this scope kills. From here on the engine's end is no fault. */
  targets(scope: ScramScope): { paths: LivePath[]; engine: ProcessIdentity | null } {
    const paths = this.#registry.covered(scope);
    if (scope.kind !== "all") return { paths, engine: null };
    const engine = this.#engine?.identity ?? null;
    this.#engine = null;
    return { paths, engine };
  }

  /** While `work` stops this scope, whoever asks for the death of a covered path waits for it. */
  async during<T extends { readonly stragglers: number }>(
    scope: ScramScope,
    work: () => Promise<T>,
  ): Promise<T> {
    const covered = this.#registry.covered(scope).map(({ path_id }) => path_id);
    this.#stopping(1);
    const working = work();
    const settled = working.then(
      () => undefined,
      () => undefined,
    );
    for (const id of covered) this.#dying.set(id, settled);
    try {
      const result = await working;
      if (result.stragglers === 0) this.#forget(covered);
      return result;
    } finally {
      this.#stopping(-1);
      for (const id of covered) this.#dying.delete(id);
    }
  }

  /** Kill the paths of a connection, or one of them; resolves when they are dead. */
  async killPathsOf(linkId: string, pathId: string | null): Promise<void> {
    const wanted = this.#registry.filter(
      (path) => path.link_id === linkId && (pathId === null || path.path_id === pathId),
    );
    for (const { path_id } of wanted) await this.#dying.get(path_id);
    const paths = wanted.filter(({ path_id }) => this.#registry.has(path_id));
    if (paths.length === 0) return;
    const report = await this.#kill({ paths, everything: false, engine: null });
    if (report.stragglers.length > 0) this.#options.onFault("paths did not die");
    // Whoever asks may have seen the engine's end before we were told of it: these lived then.
    const engine = this.#engine;
    if (engine !== null && !isAlive(engine.identity)) this.#onEngineExit(engine, "ended");
    this.#forget(paths.map(({ path_id }) => path_id));
  }

  /** Let this path in, which the switch starts to prove itself. */
  expectCanary(pathId: string): void {
    this.#canary = pathId;
  }

  /** Kill it as a stop kills the paths that it covers. */
  async endCanary(): Promise<KillReport> {
    const paths = this.#registry.filter(({ path_id }) => path_id === this.#canary);
    const report = await this.#kill({ paths, everything: false, engine: null });
    if (report.stragglers.length === 0) this.#forget(paths.map(({ path_id }) => path_id));
    this.#canary = null;
    return report;
  }

  /** Kill all that is ours, of this sentinel or of one before it. */
  async killAll(): Promise<{ found: number; stragglers: number }> {
    const engine = this.#engine?.identity ?? null;
    this.#engine = null;
    const paths = this.#registry.filter(() => true);
    const found = this.living().length;
    if (found === 0 && engine === null) return { found, stragglers: 0 };
    const report = await this.#kill({ paths, everything: true, engine });
    this.#forget(paths.map(({ path_id }) => path_id));
    return { found, stragglers: report.stragglers.length };
  }

  /** The same, while work may begin again at once: no engine starts before all are dead. */
  endAll(): Promise<{ found: number; stragglers: number }> {
    const killing = this.killAll();
    this.#clearing = killing;
    return killing;
  }

  /** All living processes of ours, by a sweep of the process table. */
  living(): ProcessIdentity[] {
    return findOurs({ name: this.#options.name, paths: [], everything: true });
  }

  /**
   * Look for processes of ours that no path on the list accounts for, beside whatever else we do: the
   * kernel may keep a reader waiting for a process that itself waits for a processor.
   */
  async discover(): Promise<string[]> {
    if (this.#looking) return [];
    this.#looking = true;
    const now = this.#options.clock.monotonicMs();
    const engine = this.#engine?.identity ?? null;
    const registered = (): ReadonlySet<string> => this.#registry.ids;
    const { name } = this.#options;
    const look = findUnregistered(name, registered, engine, this.#notOurs);
    const found = await look.finally(() => {
      this.#looking = this.#closed;
    });
    if (this.#closed) return [];
    for (const id of this.#strangers.keys()) if (!found.has(id)) this.#strangers.delete(id);
    for (const id of found) if (!this.#strangers.has(id)) this.#strangers.set(id, now);
    return this.unregistered();
  }

  /** Those that were found, and have been there for too long to be only beginning. */
  unregistered(): string[] {
    const since = this.#options.clock.monotonicMs() - DISCOVERY_GRACE_MS;
    return [...this.#strangers].filter(([, seen]) => seen < since).map(([id]) => id);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.killAll();
    this.#endBeats();
    this.#deadMan?.dismiss();
    this.#options.root.removeAll();
  }

  async #kill(what: Pick<KillTargets, "paths" | "everything" | "engine">): Promise<KillReport> {
    const { name, root, clock, maxTerminationMs } = this.#options;
    const deadline = clock.monotonicMs() + maxTerminationMs;
    this.#stopping(1);
    try {
      return await killPaths({ name, root, ...what }, () => clock.monotonicMs(), deadline);
    } finally {
      this.#stopping(-1);
    }
  }

  #onEngine(engine: EngineProcess, message: EngineMessage): void {
    if (message.t === "started") this.#admit(engine, message.path);
    if (message.t === "ended") this.#forget([message.path_id]);
  }

  #forget(pathIds: readonly string[]): void {
    this.#registry.remove(pathIds);
    for (const id of pathIds) this.#deadMan?.forgetPath(id);
  }

  #stopping(change: 1 | -1): void {
    this.#stops += change;
    this.#deadMan?.stopping(this.#stops > 0);
  }

  /** INVARIANT: a path is on the list before its first instruction runs. */
  #admit(engine: EngineProcess, path: StartedPathMessage): void {
    const { path_id } = path;
    const refusal = this.#options.refusal(path);
    const canary = path_id === this.#canary && path.link_id === SELF_PROOF_LINK;
    const known = canary || this.#options.isLinked(path.link_id);
    if (refusal !== null || !known || engine !== this.#engine) {
      engine.send({ t: "refused", path_id, ...(refusal ?? GONE) });
      return;
    }
    this.#registry.add(path);
    if (!canary) this.#deadMan?.watchPath(path);
    engine.send({ t: "admitted", path_id });
    if (this.#options.refusal(path) !== null) this.#admittedWhileTripped += 1;
  }

  #onEngineExit(engine: EngineProcess, how: "ended" | "did not answer"): void {
    if (engine !== this.#engine) return;
    this.#engine = null;
    const paths = this.size;
    this.#options.log("engine.lost", { pid: engine.identity.pid, paths, how });
    if (paths > 0) this.#options.onFault(`the engine ${how} while ${paths} paths lived`);
    // What it was about to start stands behind closed gates, on no list: it dies too.
    else this.#clearing = this.killAll();
  }
}
