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
 * new is heard. To count one in costs the same however many there are.
 */
export class Connections {
  readonly #max: number;
  readonly #perAddressMax: number;
  readonly #open = new Map<string, Connection>();
  /** Of each address, the oldest first. */
  readonly #of = new Map<string, Set<string>>();
  /** Which addresses have so many. */
  readonly #having = new Map<number, Set<string>>();
  #most = 0;
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
    const address = sourceOf(socket);
    const own = this.#of.get(address) ?? new Set();
    this.#of.set(address, own);
    own.add(key);
    this.#open.set(key, { socket, address, kept: false });
    this.#recount(address, own.size - 1, own.size);
    socket.once("close", () => {
      this.#forget(key, socket);
    });
    if (own.size > this.#perAddressMax) this.#dropOldest(address);
    else if (this.#open.size > this.#max) {
      const [most = address] = this.#having.get(this.#most) ?? [];
      this.#dropOldest(most);
    }
  }

  /** Count it no more. */
  release(socket: Socket): void {
    this.#forget(keyOf(socket) ?? "", socket);
  }

  /** From here on it is not broken off for others. @param socket of the request */
  keep(socket: Socket): void {
    const found = this.#open.get(keyOf(socket) ?? "");
    if (found !== undefined) found.kept = true;
  }

  /** Break off all, or all that are not kept. */
  closeAll(keepKept: boolean): void {
    for (const { socket, kept } of [...this.#open.values()]) {
      if (!(kept && keepKept)) socket.destroy();
    }
  }

  #dropOldest(of: string): void {
    for (const key of this.#of.get(of) ?? []) {
      const found = this.#open.get(key);
      if (found === undefined || found.kept) continue;
      this.#forget(key, found.socket);
      found.socket.destroy();
      return;
    }
  }

  /** @param socket only where it is this one: another may have come from the same port since */
  #forget(key: string, socket: Socket): void {
    const found = this.#open.get(key);
    if (found?.socket !== socket) return;
    this.#open.delete(key);
    const own = this.#of.get(found.address);
    if (own?.delete(key) !== true) return;
    this.#recount(found.address, own.size + 1, own.size);
    if (own.size === 0) this.#of.delete(found.address);
  }

  /** One more or less: so what is most changes by one at most. */
  #recount(address: string, before: number, now: number): void {
    this.#having.get(before)?.delete(address);
    const same = this.#having.get(now) ?? new Set();
    this.#having.set(now, same);
    same.add(address);
    this.#most = Math.max(this.#most, now);
    if (this.#having.get(before)?.size === 0) {
      this.#having.delete(before);
      if (before === this.#most) this.#most = now;
    }
    if (now === 0) this.#having.delete(0);
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
  const [address = ""] = plain.split("%", 1);
  const [head = "", tail] = address.split("::");
  const left = head.split(":").filter((group) => group !== "");
  const right = (tail ?? "").split(":").filter((group) => group !== "");
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => "0");
  return `${[...left, ...zeros, ...right].slice(0, 4).join(":")}::/64`;
}
