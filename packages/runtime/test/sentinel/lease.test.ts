import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Lease } from "../../src/sentinel/lease.ts";
import { TestClock } from "../support/world.ts";

let clock: TestClock;
let changes: boolean[];
let lease: Lease | null;
beforeEach(() => {
  vi.useFakeTimers();
  clock = new TestClock();
  changes = [];
});
afterEach(() => {
  lease?.close();
  vi.useRealTimers();
});

function made(ms: number | null, required: boolean): Lease {
  lease = new Lease({ ms, required, clock, onChange: (live) => changes.push(live) });
  return lease;
}

function pass(ms: number): void {
  clock.ms += ms;
  vi.advanceTimersByTime(ms);
}

describe("a lease", () => {
  it("is not needed before anybody shares the database, and needed from then on", () => {
    const one = made(1000, false);
    pass(5000);
    expect(one.live).toBe(true);
    expect(one.leftMs).toBeNull();
    one.renew(clock.monotonicMs());
    pass(999);
    expect(one.live).toBe(true);
    pass(1);
    expect(one.live).toBe(false);
    expect(changes).toEqual([false]);
  });

  it("admits nothing before it is renewed where the database is known to be shared", () => {
    const one = made(1000, true);
    expect(one.live).toBe(false);
    one.renew(clock.monotonicMs() - 400);
    expect(one.leftMs).toBe(600);
    expect(changes).toEqual([true]);
  });

  it("counts from when reading began: what was read too long ago renews nothing", () => {
    const one = made(1000, true);
    one.renew(clock.monotonicMs() - 1000);
    expect(one.live).toBe(false);
    expect(changes).toEqual([]);
  });

  it("does not believe a reading of the future, nor one that is older than the last", () => {
    const one = made(1000, true);
    one.renew(clock.monotonicMs() + 60_000);
    expect(one.leftMs).toBe(1000);
    one.renew(clock.monotonicMs() - 900);
    expect(one.leftMs).toBe(1000);
  });

  it("ends once, and is renewed after that", () => {
    const one = made(1000, true);
    one.renew(clock.monotonicMs());
    for (let more = 0; more < 10; more++) {
      pass(900);
      one.renew(clock.monotonicMs());
    }
    expect(changes).toEqual([true]);
    pass(5000);
    one.renew(clock.monotonicMs());
    expect(changes).toEqual([true, false, true]);
  });

  it("is over by the clock, whenever the timer comes", () => {
    const one = made(1000, true);
    one.renew(clock.monotonicMs());
    clock.ms += 1000;
    expect(one.live).toBe(false);
    expect(changes).toEqual([true]);
  });

  it("is nothing where this is the only machine", () => {
    const one = made(null, true);
    one.renew(0);
    pass(100_000);
    expect(one.live).toBe(true);
    expect(changes).toEqual([]);
  });
});
