import { describe, expect, it } from "vitest";
import { crash } from "../../bench/crash.bench.ts";

describe("kill -9 of the writer and of the server", () => {
  it("loses nothing that was acknowledged; chains and tree hold", async () => {
    const result = await crash(6000, [200, 700]);
    expect(result.writerKills + result.serverKills).toBeGreaterThan(0);
    expect(result).toMatchObject({ lost: 0, audit: "CONSISTENT", treeMatches: true });
    expect(result.stored).toBeGreaterThanOrEqual(result.acknowledged);
  });
});
