import { describe, expect, it } from "vitest";
import { systemEntropy } from "../../src/system/index.ts";
import { Committer } from "../../src/store/committer.ts";
import type { Database } from "../../src/store/database.ts";
import { itemFor, newStream } from "../support/entries.ts";

/** A database that fails with these codes, one after the other, and then takes everything. */
function databaseThatFails(...codes: string[]): Pick<Database, "call" | "repeat" | "read"> {
  const left = [...codes];
  const call = (): Promise<unknown[]> => {
    const code = left.shift();
    if (code !== undefined) return Promise.reject(Object.assign(new Error("lost"), { code }));
    return Promise.resolve([{ sizes: ["7"], refusals: [4] }]);
  };
  const unused = (): Promise<never> => Promise.reject(new Error("not asked for"));
  return { call: call as Database["call"], repeat: unused, read: unused };
}

const commit = (...codes: string[]): Promise<readonly unknown[]> => {
  const database = databaseThatFails(...codes) as unknown as Database;
  const items = [itemFor(newStream(), "races")];
  return new Committer(database, systemEntropy).commitBatch(items);
};

describe("an item that loses races against other processes", () => {
  it("is judged when they are over: by a wait for each other, then by who was quicker", async () => {
    const verdicts = await commit("40P01", "23505", "40001", "23505");
    expect(verdicts).toMatchObject([{ status: "refused", reason: "nonce_used" }]);
  });

  it("is not well formed where it is in its own way", async () => {
    const verdicts = await commit(...Array.from({ length: 20 }, () => "23505"));
    expect(verdicts).toMatchObject([{ status: "refused", reason: "invalid" }]);
  });

  it("is not tried again for anything else", async () => {
    await expect(commit("XX000")).rejects.toMatchObject({ code: "XX000" });
  });
});
