import { AsyncLocalStorage } from "node:async_hooks";

/** Where a tool is found by who kills it. */
export interface ToolPlace {
  /** Folders of the control groups that it joins before its first instruction. */
  readonly groups: readonly string[];
  /** What is in its environment. */
  readonly marker: Readonly<Record<string, string>>;
}

/**
 * The tools of one run that this process starts outside the sandbox, as the kill switch sees them: in
 * a control group of the installation, so that one write kills them with all paths; with a marker, so
 * that a sweep finds them; and known here, for a stop of this run alone.
 */
export class ToolScope {
  readonly #place: () => ToolPlace;
  readonly #why: () => string | null;
  readonly #kills = new Set<() => void>();
  #stopped: string | null = null;
  #ended = false;

  /**
   * @param place asked for at the start of each tool
   * @param why asked where a tool was killed: what stopped it, of a scope that is told of no stop
   */
  constructor(place: () => ToolPlace, why: () => string | null = () => null) {
    this.#place = place;
    this.#why = why;
  }

  get place(): ToolPlace {
    return this.#place();
  }

  /** Why it was stopped; null while it was not. */
  get stopped(): string | null {
    return this.#stopped;
  }

  /** Why one of its tools may have been killed. */
  get killed(): string | null {
    return this.#stopped ?? this.#why();
  }

  /** True while what starts belongs to it: it was neither stopped nor ended. */
  get open(): boolean {
    return this.#stopped === null && !this.#ended;
  }

  /** The run has ended: its groups are gone. What is cleared up after that is of no run. */
  end(): void {
    this.#ended = true;
  }

  /** Kill all tools of the scope. An effect starts none after that. */
  stop(reason: string): void {
    this.#stopped ??= reason;
    for (const kill of this.#kills) kill();
  }

  /** @returns what to call when the tool has ended */
  add(kill: () => void): () => void {
    this.#kills.add(kill);
    return () => {
      this.#kills.delete(kill);
    };
  }
}

interface Held {
  readonly scope: ToolScope;
  /** True for what acts: after a stop it starts nothing. What only looks may still do so. */
  readonly acts: boolean;
  readonly outer: Held | null;
}

const storage = new AsyncLocalStorage<Held>();

/** Whatever `work` starts, and whatever that calls, belongs to this scope. */
export function withTools<T>(scope: ToolScope, acts: boolean, work: () => T): T {
  return storage.run({ scope, acts, outer: toolsHeld() }, work);
}

/** Only looks: it must tell how things stand, also after a stop. */
export function withLook<T>(work: () => T): T {
  const held = storage.getStore();
  return held === undefined ? work() : withTools(held.scope, false, work);
}

export function toolsHeld(): Held | null {
  return storage.getStore() ?? null;
}

/** Why nothing that acts may begin now; null where it may. */
export function stoppedNow(): string | null {
  const held = toolsHeld();
  return held?.acts === true ? held.scope.stopped : null;
}

/**
 * Whose a tool is that starts now; null for nobody's. What looks after a stop, or puts back what was
 * half done, is not of what was stopped: else the stop would end it, too. Its limits hold.
 */
export function scopeOf(held: Held | null): ToolScope | null {
  if (held === null || held.scope.open) return held?.scope ?? null;
  return held.scope.stopped === null ? scopeOf(held.outer) : null;
}
