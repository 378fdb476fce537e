import { describe, expect, it } from "vitest";
import { rest, Turns } from "../../src/system/index.ts";

describe("turns", () => {
  it("are taken in the order in which they were asked for, each after the end of the one before", async () => {
    const turns = new Turns();
    const seen: string[] = [];
    const work = (name: string, ms: number) => async () => {
      seen.push(`${name} begins`);
      await rest(ms);
      seen.push(`${name} ends`);
      return name;
    };
    const first = turns.take(work("slow", 30));
    const second = turns.take(work("quick", 0));
    expect(await Promise.all([first, second])).toEqual(["slow", "quick"]);
    expect(seen).toEqual(["slow begins", "slow ends", "quick begins", "quick ends"]);
  });

  it("go on after a failure, which whoever asked sees", async () => {
    const turns = new Turns();
    const failed = turns.take(() => Promise.reject(new Error("broken")));
    const after = turns.take(() => Promise.resolve(1));
    await expect(failed).rejects.toThrow("broken");
    expect(await after).toBe(1);
  });

  it("are over when all that was given is done, whether it failed or not", async () => {
    const turns = new Turns();
    let done = false;
    const slow = turns.take(async () => {
      await rest(20);
      done = true;
      throw new Error("late");
    });
    await turns.over();
    expect(done).toBe(true);
    await expect(slow).rejects.toThrow("late");
  });
});

describe("a rest", () => {
  it("ends at once when the signal comes, and is no failure", async () => {
    const signal = AbortSignal.abort();
    await expect(rest(3_600_000, signal)).resolves.toBeUndefined();
  });
});
