import type { Installation } from "../../installation/index.ts";
import type { Opened } from "../opened.ts";

interface Kept {
  readonly installation: Installation;
  /** How many work with it now. */
  users: number;
  retired: boolean;
  release(): void;
  readonly closed: Promise<void>;
}

/**
 * One installation for all that a long-lived process does. Where its sentinel is gone, what is begun
 * from then on has another, and the first is closed when those who work with it have ended.
 */
export class KeptInstallation {
  readonly #opened: Opened;
  #current: Promise<Kept> | null = null;
  readonly #open = new Set<Promise<void>>();

  constructor(opened: Opened) {
    this.#opened = opened;
  }

  /** For what only reads. */
  readonly look: Opened = (work) => this.#use(() => this.#get(), work);

  /** For what runs: under a sentinel that lives. */
  readonly work: Opened = (work) => this.#use(() => this.#guarded(), work);

  /** @returns when all is closed; whoever works still is waited for */
  async close(): Promise<void> {
    const current = this.#current;
    this.#current = null;
    if (current !== null) retire(await current);
    await Promise.allSettled(this.#open);
  }

  async #use<T>(
    get: () => Promise<Kept>,
    work: (installation: Installation) => Promise<T>,
  ): Promise<T> {
    const kept = await get();
    kept.users += 1;
    try {
      return await work(kept.installation);
    } finally {
      kept.users -= 1;
      if (kept.retired && kept.users === 0) kept.release();
    }
  }

  async #guarded(): Promise<Kept> {
    const kept = await this.#get();
    const link = await kept.installation.guard().catch(() => null);
    const gate = link?.preflight();
    const isLost = gate === undefined || (!gate.armed && gate.code === "ERR_SCRAM_SENTINEL_LOST");
    if (!isLost) return kept;
    if (this.#current !== null && (await this.#current) === kept) this.#current = null;
    retire(kept);
    return this.#get();
  }

  #get(): Promise<Kept> {
    this.#current ??= this.#openOne().catch((error: unknown) => {
      // Whoever comes next tries again.
      this.#current = null;
      throw error;
    });
    return this.#current;
  }

  #openOne(): Promise<Kept> {
    return new Promise((resolve, reject) => {
      const closed = this.#opened(
        (installation) =>
          new Promise<void>((release) => {
            resolve({ installation, users: 0, retired: false, release, closed });
          }),
      );
      this.#open.add(closed);
      const forget = (): void => {
        this.#open.delete(closed);
      };
      closed.then(forget, (error: unknown) => {
        forget();
        reject(error instanceof Error ? error : new Error(String(error)));
      });
    });
  }
}

function retire(kept: Kept): void {
  kept.retired = true;
  if (kept.users === 0) kept.release();
}
