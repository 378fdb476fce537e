import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { whileWaiting } from "../../src/services/while-waiting.ts";

describe("waiting for what takes long", () => {
  it("says what is waited for, again and again, until it is there", async () => {
    const said: string[] = [];
    let what = "making it";
    const work = async (): Promise<string> => {
      while (said.length < 2) await sleep(1);
      what = "starting it";
      while (said.length < 3) await sleep(1);
      return "there";
    };
    expect(
      await whileWaiting(
        () => what,
        (text) => said.push(text),
        work,
        5,
      ),
    ).toBe("there");
    expect(said[0]).toBe("making it (0 s)");
    expect(said[2]).toBe("starting it (0 s)");
    const { length } = said;
    await sleep(30);
    expect(said).toHaveLength(length);
  });

  it("says nothing of what is there at once, and hands on what fails", async () => {
    const said: string[] = [];
    const tell = (text: string): unknown => said.push(text);
    expect(
      await whileWaiting(
        () => "x",
        tell,
        () => Promise.resolve(1),
      ),
    ).toBe(1);
    const failing = whileWaiting(
      () => "x",
      tell,
      () => Promise.reject(new Error("no")),
      5,
    );
    await expect(failing).rejects.toThrow("no");
    await sleep(30);
    expect(said).toEqual([]);
  });
});
