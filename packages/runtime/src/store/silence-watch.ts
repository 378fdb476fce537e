import pg from "pg";
import type { ConnectionTarget } from "./connection-target.ts";
import { ownerConfig } from "./embedded.ts";

/**
 * Tells a server that takes long from one that says nothing any more: while an answer is waited for,
 * the server is asked over another connection whether it is there. Where it is not, what waits is told
 * so, and not only when the longest answer would have been due.
 */
export class SilenceWatch {
  readonly #target: ConnectionTarget;
  #asking: Promise<boolean> | null = null;
  #patient: boolean;

  /** A server of our own is not behind a network: it is waited for. */
  constructor(target: ConnectionTarget) {
    this.#target = target;
    this.#patient = target.kind === "embedded";
  }

  /** From here on the longest answer is waited for, whatever the server seems to be doing. */
  relax(): void {
    this.#patient = true;
  }

  /** Do `work`, which uses the connection; end the connection should the server fall silent. */
  async during<T>(client: Pick<pg.Client, "connection">, work: () => Promise<T>): Promise<T> {
    const { halfMs } = this;
    let over = false;
    const look = async (): Promise<void> => {
      const there = this.#patient || (await this.#ask());
      if (over) return;
      if (there) timer = setTimeout(() => void look(), halfMs);
      // Whatever waits for an answer is told that there is no connection.
      else client.connection.stream.destroy();
    };
    let timer = setTimeout(() => void look(), halfMs);
    try {
      return await work();
    } finally {
      over = true;
      clearTimeout(timer);
    }
  }

  /** Of the patience one half is for waiting, the other for asking. */
  get halfMs(): number {
    return this.#target.kind === "url" ? this.#target.patienceMs / 2 : 5000;
  }

  /** However many wait, it is asked once. */
  #ask(): Promise<boolean> {
    this.#asking ??= this.#answers().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** To say no is an answer, too. */
  async #answers(): Promise<boolean> {
    const client = new pg.Client(ownerConfig(this.#target));
    client.on("error", () => undefined);
    let silent = false;
    const timer = setTimeout(() => {
      silent = true;
      client.connection.stream.destroy();
    }, this.halfMs);
    try {
      await client.connect();
      await client.query("select 1");
    } catch (error) {
      silent ||= (error as { code?: string }).code === undefined || isUnreachable(error);
    } finally {
      clearTimeout(timer);
      client.connection.stream.destroy();
    }
    return !silent;
  }
}

/** An error of the system, and none that the server told us. */
function isUnreachable(error: unknown): boolean {
  return (error as { syscall?: string }).syscall !== undefined;
}
