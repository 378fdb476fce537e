import { describe, expect, it } from "vitest";
import { race } from "./support/race.ts";

describe("a process that edits the files of a move while it happens", () => {
  it.each(["journalled", "indexed", "locked"])(
    "from when it is %s on, loses nothing",
    async (from) => {
      const found = await race(from.length * 7919, from);
      expect(found.lost).toEqual([]);
      expect(found.untold).toEqual([]);
      expect(found.sound).toBe(true);
      expect(found.edits).toBeGreaterThan(0);
      expect(["completed", "ERR_REPOSITORY_DIRTY"]).toContain(found.outcome);
    },
  );
});
