import type { Socket } from "node:net";

export interface HalfRequestLimits {
  readonly connections: number;
  /** What all of them together have said. */
  readonly bytes: number;
  readonly ms: number;
}

const LIMITS: HalfRequestLimits = { connections: 1024, bytes: 512 * 1024 * 1024, ms: 30_000 };

/**
 * Connections whose request is not whole yet. A control sends its request at once; one that does not
 * is cut after a time. Where there are too many, the oldest is cut, and where they have said too
 * much, the one that said most: so a newcomer gets in beside a flood of them.
 */
export class HalfRequests {
  readonly #open = new Map<Socket, NodeJS.Timeout>();
  readonly #limits: HalfRequestLimits;

  constructor(limits: HalfRequestLimits = LIMITS) {
    this.#limits = limits;
  }

  add(socket: Socket): void {
    const { connections, ms } = this.#limits;
    const [oldest] = this.#open.keys();
    if (this.#open.size >= connections && oldest !== undefined) this.#cut(oldest);
    const late = setTimeout(() => {
      this.#cut(socket);
    }, ms);
    this.#open.set(socket, late);
    socket.on("data", this.#weigh);
    socket.once("close", () => {
      this.done(socket);
    });
  }

  /** Its request is whole, or it is gone. */
  done(socket: Socket): void {
    clearTimeout(this.#open.get(socket));
    this.#open.delete(socket);
    socket.off("data", this.#weigh);
  }

  readonly #weigh = (): void => {
    const sockets = [...this.#open.keys()];
    const total = sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
    if (total <= this.#limits.bytes) return;
    const [largest] = sockets.sort((one, other) => other.bytesRead - one.bytesRead);
    if (largest !== undefined) this.#cut(largest);
  };

  #cut(socket: Socket): void {
    this.done(socket);
    socket.destroy();
  }
}
