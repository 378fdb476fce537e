import { mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Installation } from "../../../src/installation/index.ts";
import { publishingBy, whilePublishing } from "../../../src/services/runs/run-folder.ts";

const RUN = `run_${"a".repeat(20)}`;
let home: string;
let place: Pick<Installation, "folder">;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sov-publishing-"));
  const run = (id: string): string => join(home, "runs", id);
  place = { folder: { root: home, run } as Installation["folder"] };
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

describe("a run whose evidence is being published", () => {
  it("has a mark until that is done, also in a data folder that had no run", async () => {
    expect(publishingBy(place, RUN)).toBeNull();
    const during = await whilePublishing(place, RUN, () =>
      Promise.resolve(publishingBy(place, RUN)),
    );
    expect([during, publishingBy(place, RUN)]).toEqual(["living", null]);
    const failed = whilePublishing(place, RUN, () => Promise.reject(new Error("no room")));
    await expect(failed).rejects.toThrow("no room");
    expect(readdirSync(join(home, "runs"))).toEqual([]);
  });

  it("was left by a process that is dead, until somebody publishes it", async () => {
    const mark = join(home, "runs", `.publish-${RUN}`);
    let owner = "";
    await whilePublishing(place, RUN, () => {
      owner = readlinkSync(mark);
      return Promise.resolve();
    });
    // The same process number, and another start.
    symlinkSync(owner.replace(/^(\d+) \d+/, "$1 1"), mark);
    expect(publishingBy(place, RUN)).toBe("dead");
    await whilePublishing(place, RUN, () => Promise.resolve());
    expect(publishingBy(place, RUN)).toBeNull();
  });
});
