import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { SovereignError } from "@sovereign/core";
import { describe, expect, it, vi } from "vitest";
import { problemOf } from "../../src/scram-http/answer.ts";
import { Connections, sourceOf } from "../../src/scram-http/connections.ts";
import { HandshakeTurns } from "../../src/scram-http/handshake-turns.ts";
import { parseListenAddress } from "../../src/scram-http/index.ts";
import { RateLimits } from "../../src/scram-http/rate-limits.ts";
import { TestClock } from "../support/world.ts";

describe("where to listen", () => {
  it.each([
    ["127.0.0.1:80", { kind: "tcp", host: "127.0.0.1", port: 80 }],
    ["localhost:0", { kind: "tcp", host: "127.0.0.1", port: 0 }],
    ["[::1]:7433", { kind: "tcp", host: "::1", port: 7433 }],
    ["unix:/run/s.sock", { kind: "unix", path: "/run/s.sock" }],
  ])("is read from %s", (text, expected) => {
    expect(parseListenAddress(text)).toEqual(expected);
  });

  it.each(["", "7433", ":7433", "unix:", "host:1", "::1:80", "127.0.0.1:65536", "[127.0.0.1]:1"])(
    "is not read from %j",
    (text) => {
      expect(() => parseListenAddress(text)).toThrow(
        expect.objectContaining({ code: "ERR_HTTP_CONFIG" }),
      );
    },
  );
});

describe("limits", () => {
  it("are for each, and come back with time", () => {
    const clock = new TestClock();
    const limits = new RateLimits(clock, { burst: 10, perSecond: 2 });
    for (let times = 0; times < 10; times++) expect(limits.count("a")).toBe(0);
    expect(limits.count("a")).toBe(1);
    expect(limits.count("b")).toBe(0);
    clock.ms += 500;
    expect(limits.count("a")).toBe(0);
    expect(limits.count("a")).toBe(1);
  });

  it("forget no one who came lately", () => {
    const limits = new RateLimits(new TestClock(), { burst: 1, perSecond: 1 });
    expect(limits.count("a")).toBe(0);
    for (let other = 0; other < 20_000; other++) {
      limits.count(`other ${other}`);
      if (other % 5000 === 0) expect(limits.count("a")).toBe(1);
    }
    expect(limits.count("other 0")).toBe(0);
  });
});

describe("an answer", () => {
  it("tells strangers nothing of what went wrong here", () => {
    const secret = "/home/alice/keys";
    expect(problemOf(new Error(secret))).toMatchObject({
      status: 500,
      body: { code: "ERR_HTTP_FAILED" },
    });
    for (const error of [
      new Error(secret),
      new SovereignError("ERR_SCRAM_SENTINEL_START", secret),
      new SovereignError("ERR_SCRAM_KEYS_INVALID", secret),
      new SovereignError("ERR_SCRAM_UNWRITABLE", secret),
    ]) {
      expect(JSON.stringify(problemOf(error))).not.toContain(secret);
    }
  });
});

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string;
  readonly remotePort: number;
  destroyed = false;
  constructor(address: string, port: number) {
    super();
    this.remoteAddress = address;
    this.remotePort = port;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}
const fake = (address: string, port: number): FakeSocket & Socket =>
  new FakeSocket(address, port) as unknown as FakeSocket & Socket;

describe("connections", () => {
  it("of one address drive out each other, the oldest first, and no kept one", () => {
    const connections = new Connections(100, 3);
    const other = fake("10.0.0.2", 1);
    connections.add(other);
    const all = Array.from({ length: 6 }, (_, index) => {
      const socket = fake("10.0.0.1", index + 1);
      connections.add(socket);
      if (index === 0) connections.keep(socket);
      return socket;
    });
    expect(all.map(({ destroyed }) => destroyed)).toEqual([false, true, true, true, false, false]);
    expect(other.destroyed).toBe(false);
    expect(connections.size).toBe(4);
  });

  it("in all are taken from the address that has most", () => {
    const connections = new Connections(10, 8);
    const many = Array.from({ length: 8 }, (_, index) => fake("10.0.0.1", index + 1));
    const few = Array.from({ length: 6 }, (_, index) => fake(`10.0.1.${index}`, 1));
    for (const socket of [...many, ...few]) connections.add(socket);
    expect(few.filter(({ destroyed }) => destroyed)).toHaveLength(0);
    expect(many.filter(({ destroyed }) => destroyed)).toHaveLength(4);
  });

  it("give way by the same rule, however they come and go", () => {
    const [max, perAddressMax] = [20, 7];
    const connections = new Connections(max, perAddressMax);
    /** The rule in plain words: all that are open, the oldest first. */
    let open: FakeSocket[] = [];
    let seed = 7;
    const below = (limit: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % limit;
    };
    for (let step = 0; step < 3000; step++) {
      if (below(4) === 0 && open.length > 0) {
        const gone = open.splice(below(open.length), 1)[0];
        if (below(2) === 0) gone?.destroy();
        else connections.release(gone as unknown as Socket);
      }
      const socket = fake(`10.0.0.${below(6) * below(3)}`, step + 1);
      connections.add(socket);
      open.push(socket);
      const of = (address: string): FakeSocket[] =>
        open.filter(({ remoteAddress }) => remoteAddress === address);
      const most = Math.max(...open.map(({ remoteAddress }) => of(remoteAddress).length));
      const own = of(socket.remoteAddress);
      const dropped = open.filter(({ destroyed }) => destroyed);
      const isOver = own.length > perAddressMax || open.length > max;
      expect(dropped).toHaveLength(isOver ? 1 : 0);
      for (const one of dropped) {
        expect(of(one.remoteAddress)[0]).toBe(one);
        if (own.length > perAddressMax) expect(one.remoteAddress).toBe(socket.remoteAddress);
        else expect(of(one.remoteAddress)).toHaveLength(most);
      }
      open = open.filter(({ destroyed }) => !destroyed);
      expect(connections.size).toBe(open.length);
    }
  });

  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::9", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ])("from %s count as from %s", (address, source) => {
    expect(sourceOf(fake(address, 1))).toBe(source);
  });
});

describe("handshakes", () => {
  const clock = { now: () => new Date(0), monotonicMs: () => performance.now() };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it("of who comes for the first time do not wait for a flood's", async () => {
    const turns = new HandshakeTurns(clock);
    const begun: string[] = [];
    const add = (source: string, gone = false): void => {
      turns.add(source, { gone: () => gone, begin: () => void begun.push(source) });
    };
    for (let index = 0; index < 2000; index++) add(`10.0.0.${index % 8}`);
    await turn();
    add("192.0.2.1", true);
    add("192.0.2.2");
    await turn();
    await turn();
    expect(begun).toContain("192.0.2.2");
    expect(begun).not.toContain("192.0.2.1");
    // Two a turn of those that came first, and of the others one in a while.
    expect(begun.length).toBeLessThan(10);
  });

  it("that wait are not looked at again for each one that comes", () => {
    const turns = new HandshakeTurns(clock);
    const count = 8192;
    let looks = 0;
    const gone = (): boolean => {
      looks += 1;
      return false;
    };
    for (let index = 0; index < count; index++) {
      turns.add(`10.0.${index % 64}.1`, { gone, begin: () => undefined });
    }
    expect(looks).toBeLessThan(4 * count);
  });

  it("of a flood are begun in their turn, too, when nobody else comes", async () => {
    const turns = new HandshakeTurns(clock);
    let begun = 0;
    const begin = (): void => void (begun += 1);
    for (let index = 0; index < 12; index++) turns.add("10.0.0.1", { gone: () => false, begin });
    await vi.waitUntil(() => begun === 12, { timeout: 10_000 });
  });
});
