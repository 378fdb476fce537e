import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDataFolder } from "../../src/home/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sovereign-data-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("a data folder", () => {
  it("is made with all that leads to it, and read by nobody else", () => {
    const { root, ledger } = openDataFolder(join(folder, "a", "b", "home"));
    for (const path of [join(folder, "a"), root, ledger]) {
      expect(statSync(path).mode & 0o777).toBe(0o700);
    }
    expect(openDataFolder(root).root).toBe(root);
  });

  it("is refused where nothing can be made, at once", () => {
    const refused = expect.objectContaining({ code: "ERR_DATA_FOLDER" }) as Error;
    expect(() => openDataFolder("/proc/nothing/home")).toThrow(refused);
    expect(() => openDataFolder("/dev/null/home")).toThrow(refused);
  });

  it("has a folder of a run for what is a run's identifier alone", () => {
    const home = openDataFolder(join(folder, "home"));
    const id = `run_${"a".repeat(20)}`;
    expect(home.run(id)).toBe(join(home.root, "runs", id));
    for (const other of ["", ".", "..", "../keys", `${id}/../../keys`, `/${id}`, `${id}\n`]) {
      expect(() => home.run(other)).toThrow("run: expected run_ and 20 of a-z 0-9");
    }
  });
});
