import { setTimeout as sleep } from "node:timers/promises";
import type { ScramLink } from "./sentinel-link.ts";

const AGAIN_MS = 500;
const NOBODY = { tenant_id: "none", run_id: `run_${"0".repeat(20)}` };

export interface HeldLinkOptions {
  /** Connect to the sentinel, starting one where none runs. */
  readonly connect: () => Promise<ScramLink>;
  /** Told each time the sentinel is lost, and when there is one again. */
  readonly onChange: (there: boolean) => void;
  /** Told why none can be had, each time; it is tried again all the same. */
  readonly onFailed: (error: unknown) => void;
}

/**
 * A connection to the sentinel that is made again whenever it is lost, for a process that is to be
 * at hand at any time. While it is held the sentinel stays.
 */
export class HeldLink {
  readonly #options: HeldLinkOptions;
  readonly #waiting = new Set<(link: ScramLink) => void>();
  readonly #ended = new AbortController();
  #link: ScramLink | null = null;

  private constructor(options: HeldLinkOptions) {
    this.#options = options;
  }

  /** @throws ERR_SCRAM_SENTINEL_START when the first connection cannot be made */
  static async open(options: HeldLinkOptions): Promise<HeldLink> {
    const held = new HeldLink(options);
    held.#take(await options.connect());
    return held;
  }

  /** The sentinel, or null while there is none. */
  get current(): ScramLink | null {
    return this.#link?.alive === true ? this.#link : null;
  }

  /** The sentinel, waited for so long. */
  async within(ms: number): Promise<ScramLink | null> {
    if (this.current !== null) return this.current;
    let found: (link: ScramLink) => void = () => undefined;
    const connected = new Promise<ScramLink>((resolve) => {
      found = resolve;
    });
    this.#waiting.add(found);
    const over = new AbortController();
    try {
      const patience = sleep(ms, null, { signal: over.signal }).catch(() => null);
      return await Promise.race([connected, patience]);
    } finally {
      over.abort();
      this.#waiting.delete(found);
    }
  }

  close(): void {
    this.#ended.abort();
    this.#link?.close();
  }

  #take(link: ScramLink): void {
    if (this.#ended.signal.aborted) {
      link.close();
      return;
    }
    this.#link = link;
    for (const found of this.#waiting) found(link);
    link.onStop(NOBODY, ({ code }) => {
      if (code === "ERR_SCRAM_SENTINEL_LOST" && this.#link === link) void this.#again(link);
    });
  }

  async #again(lost: ScramLink): Promise<void> {
    this.#link = null;
    this.#options.onChange(false);
    lost.close();
    while (!this.#ended.signal.aborted) {
      try {
        const link = await this.#options.connect();
        this.#take(link);
        this.#options.onChange(true);
        return;
      } catch (error) {
        // It is tried for as long as we are asked to.
        this.#options.onFailed(error);
        await sleep(AGAIN_MS, null, { signal: this.#ended.signal }).catch(() => null);
      }
    }
  }
}
