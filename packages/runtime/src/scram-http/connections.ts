import { isIPv6, type Socket } from "node:net";

interface Connection {
  readonly socket: Socket;
  readonly address: string;
  /** In the sentinel's hands: it must not be broken off. */
  kept: boolean;
}

/**
 * How many connections there may be, in all and from one address. Where there are too many, the
 * oldest one of the address that has most gives way: a flood drives out itself, and whoever comes
 * new is heard.
 */
export class Connections {
  readonly #max: number;
  readonly #perAddressMax: number;
  /** Oldest first. */
  readonly #open = new Map<string, Connection>();
  #next = 0;

  constructor(max: number, perAddressMax: number) {
    this.#max = max;
    this.#perAddressMax = perAddressMax;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Count a new connection, and make room for it. */
  add(socket: Socket): void {
    const key = keyOf(socket) ?? `local ${this.#next++}`;
    this.#open.set(key, { socket, address: sourceOf(socket), kept: false });
    socket.once("close", () => {
      this.#open.delete(key);
    });
    const counts = new Map<string, number>();
    for (const { address } of this.#open.values()) {
      counts.set(address, (counts.get(address) ?? 0) + 1);
    }
    const own = sourceOf(socket);
    if ((counts.get(own) ?? 0) > this.#perAddressMax) this.#dropOldest(own);
    else if (this.#open.size > this.#max) {
      const [most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
      this.#dropOldest(most);
    }
  }

  /** From here on it is not broken off for others. @param socket of the request */
  keep(socket: Socket): void {
    const found = this.#open.get(keyOf(socket) ?? "");
    if (found !== undefined) found.kept = true;
  }

  /** Break off all, or all that are not kept. */
  closeAll(keepKept: boolean): void {
    for (const { socket, kept } of this.#open.values()) {
      if (!(kept && keepKept)) socket.destroy();
    }
  }

  #dropOldest(of: string): void {
    for (const [key, { socket, address, kept }] of this.#open) {
      if (address !== of || kept) continue;
      this.#open.delete(key);
      socket.destroy();
      return;
    }
  }
}

/** One name for a connection, for its plain socket and for the encrypted one over it. */
function keyOf({ remoteAddress, remotePort }: Socket): string | null {
  return remoteAddress === undefined ? null : `${remoteAddress} ${String(remotePort)}`;
}

/** Who counts as one: an IPv4 address, or the /64 that a customer of IPv6 is given. */
export function sourceOf({ remoteAddress = "local" }: Socket): string {
  const plain = remoteAddress.replace(/^::ffff:(?=\d+\.)/, "");
  if (!isIPv6(plain)) return plain;
  const [head = "", tail] = plain.replace(/%.*$/, "").split("::");
  const left = head.split(":").filter((group) => group !== "");
  const right = (tail ?? "").split(":").filter((group) => group !== "");
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => "0");
  return `${[...left, ...zeros, ...right].slice(0, 4).join(":")}::/64`;
}
