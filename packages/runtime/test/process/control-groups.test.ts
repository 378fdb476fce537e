import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ControlGroups } from "../../src/process/index.ts";

describe("the weight of all paths together", () => {
  let group = "";
  beforeEach(() => {
    group = mkdtempSync(join(tmpdir(), "group-"));
  });
  afterEach(() => {
    rmSync(group, { recursive: true, force: true });
  });

  it.each([
    ["cpu.shares", "1024", "256", "20480", "65536"],
    ["cpu.weight", "100", "25", "2000", "6400"],
  ])("by %s is less than a process's while they live, and more while they die", (...row) => {
    const [name, ordinary, living, dying, ahead] = row;
    const file = join(group, name);
    writeFileSync(file, ordinary);
    // v1 has a hierarchy of its own for it, v2 the paths' own.
    const groups =
      name === "cpu.shares" ? new ControlGroups([], group) : new ControlGroups([group]);
    groups.prefer(false);
    expect(readFileSync(file, "utf8")).toBe(living);
    groups.prefer(true, false);
    expect(readFileSync(file, "utf8")).toBe(dying);
    // Who sees them die comes before them: so they may come before all others.
    groups.prefer(true, true);
    expect(readFileSync(file, "utf8")).toBe(ahead);
  });

  it("is more until they are set up, and is raised there too when they must die", () => {
    const starting = mkdtempSync(join(tmpdir(), "group-"));
    try {
      for (const folder of [group, starting]) writeFileSync(join(folder, "cpu.shares"), "1024");
      const shares = (): string[] =>
        [group, starting].map((folder) => readFileSync(join(folder, "cpu.shares"), "utf8"));
      const groups = new ControlGroups([], group, starting);
      groups.prefer(false);
      expect(shares()).toEqual(["256", "4096"]);
      groups.prefer(true, true);
      expect(shares()).toEqual(["65536", "65536"]);
    } finally {
      rmSync(starting, { recursive: true });
    }
  });

  it("stays as it is where the kernel offers neither, or refuses", () => {
    new ControlGroups([group]).prefer(true);
    new ControlGroups([join(group, "gone")], join(group, "gone")).prefer(true);
  });
});
