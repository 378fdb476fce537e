import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { StartPatience, type StartedSentinel } from "../../src/scram/start-patience.ts";

class SteppedClock {
  ms = 0;
  now(): Date {
    return new Date(this.ms);
  }
  monotonicMs(): number {
    return this.ms;
  }
}

describe("how long it is waited for a sentinel", () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const one of children.splice(0)) one.kill("SIGKILL");
  });

  function program(script: string): ChildProcess {
    const child = spawn("/bin/sh", ["-c", script], { stdio: "ignore" });
    children.push(child);
    return child;
  }

  /** Looks once a second for so many seconds. @returns the second in which it was over, else null */
  function lookFor(seconds: number, patience: StartPatience, clock: SteppedClock): number | null {
    for (let second = 1; second <= seconds; second++) {
      clock.ms += 1000;
      if (patience.over) return second;
      patience.startWhereNeeded();
    }
    return null;
  }

  function begin(start: () => StartedSentinel | null): [StartPatience, SteppedClock] {
    const clock = new SteppedClock();
    const patience = new StartPatience(clock, start);
    patience.startWhereNeeded();
    return [patience, clock];
  }

  it("is longer than 15 s while it wants to run, and never longer than 60 s", () => {
    const busy = program("while :; do :; done");
    const [patience, clock] = begin(() => busy);
    expect(lookFor(100, patience, clock)).toBe(60);
  });

  it("is 15 s where it does nothing, and where nobody is started", async () => {
    const idle = program("exec sleep 60");
    await new Promise((wake) => setTimeout(wake, 100));
    expect(lookFor(100, ...begin(() => idle))).toBe(15);
    expect(lookFor(100, ...begin(() => null))).toBe(15);
  });

  it("is 15 s where the first one failed, whoever is busy in its place", async () => {
    const failed = program("exit 1");
    await once(failed, "exit");
    const busy = program("while :; do :; done");
    let starts = 0;
    const [patience, clock] = begin(() => (starts++ === 0 ? failed : busy));
    expect(lookFor(100, patience, clock)).toBe(15);
    expect(starts).toBe(2);
  });

  it("starts no second one beside one that is on its way", () => {
    const busy = program("while :; do :; done");
    let starts = 0;
    const [patience, clock] = begin(() => {
      starts += 1;
      return busy;
    });
    lookFor(50, patience, clock);
    expect(starts).toBe(1);
  });
});
