import { AsyncLocalStorage } from "node:async_hooks";

/**
 * The tools of one run that this process starts outside the sandbox, as the kill switch sees them: in
 * a control group of the installation, so that one write kills them with all paths; with a marker, so
 * that a sweep finds them; and known here, for a stop of this run alone.
 */
export class ToolScope {
  /** Folders of the control groups that a tool joins before its first instruction. */
  readonly groups: readonly string[];
  readonly marker: Readonly<Record<string, string>>;
  readonly #kills = new Set<() => void>();
  #stopped: string | null = null;
  #ended = false;

  constructor(groups: readonly string[], marker: Readonly<Record<string, string>>) {
    this.groups = groups;
    this.marker = marker;
  }

  /** Why it was stopped; null while it was not. */
  get stopped(): string | null {
    return this.#stopped;
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
}

const storage = new AsyncLocalStorage<Held>();

/** Whatever `work` starts, and whatever that calls, belongs to this scope. */
export function withTools<T>(scope: ToolScope, acts: boolean, work: () => T): T {
  return storage.run({ scope, acts }, work);
}

/** Only looks: it must tell how things stand, also after a stop. */
export function withLook<T>(work: () => T): T {
  const held = storage.getStore();
  return held === undefined ? work() : withTools(held.scope, false, work);
}

export function toolsHeld(): Held | null {
  return storage.getStore() ?? null;
}
