import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Journal, type LatchedStop, offlineStatus, ScramLatch } from "../../src/scram/index.ts";
import { refusalAt } from "../../src/scram/status.ts";
import { SmallDisk } from "../support/small-disk.ts";

const NOW = "2026-06-01T12:00:00.000Z";
const OWNER = { tenant_id: "acme", run_id: `run_${"a".repeat(20)}` };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-memory-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function stop(number: number, scope: LatchedStop["scope"] = { kind: "all" }): LatchedStop {
  const event_id = `SCRAM-${String(number).padStart(20, "0")}`;
  return { event_id, scope, reason: "security_breach", tripped_at: NOW };
}

/** A folder as a sentinel leaves it: a journal, room, and the proof that no stop was lost. */
function settledFolder(where = folder): { latch: ScramLatch; journal: Journal } {
  const latch = new ScramLatch(where);
  const journal = Journal.open(join(where, "journal.jsonl"));
  latch.settle({ lines: 0, head: journal.head });
  journal.append("sentinel.started", NOW, { settled: true });
  latch.reserve();
  return { latch, journal };
}

const RUBBISH: readonly [string, (path: string) => void][] = [
  ["a named pipe", (path) => execFileSync("mkfifo", [path])],
  [
    "a folder",
    (path) => {
      mkdirSync(path);
    },
  ],
  [
    "a link to nothing",
    (path) => {
      symlinkSync("/nowhere/at/all", path);
    },
  ],
  [
    "a link to itself",
    (path) => {
      symlinkSync(path, path);
    },
  ],
  [
    "an empty file",
    (path) => {
      writeFileSync(path, "");
    },
  ],
  [
    "garbage",
    (path) => {
      writeFileSync(path, Buffer.alloc(2_000_000, 0xff));
    },
  ],
  [
    "a record of a later version",
    (path) => {
      writeFileSync(path, '{"format":"sovereign.scram-latch","schema_version":"9.0.0","stops":[]}');
    },
  ],
];

describe("whatever stands in place of the latch", () => {
  it.each(RUBBISH)("%s stops everything at once, and a reset takes it away", (_, make) => {
    const { latch } = settledFolder();
    make(latch.path);
    expect(latch.preflight(OWNER)).toMatchObject({ armed: false });
    expect(latch.preflightWatched(OWNER)).toMatchObject({ armed: false });
    expect(offlineStatus(folder)).toMatchObject({ state: "FAILED", readable: false });
    expect(refusalAt(folder, OWNER)).toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
    latch.trip(stop(1, { kind: "run", run_id: OWNER.run_id }));
    latch.sync();
    expect(latch.preflight({ tenant_id: "x", run_id: `run_${"b".repeat(20)}` }).armed).toBe(false);
    latch.lift([stop(1).event_id]);
    expect(latch.preflight(OWNER)).toEqual({ armed: true });
  });
});

describe("whatever stands in place of the room for a latch", () => {
  it.each(RUBBISH)("%s keeps no stop from being latched", (_, make) => {
    const { latch } = settledFolder();
    for (const name of ["LATCH.spare", "LATCH.spare-2", "LATCH.spare-3", "LATCH.spare-4"]) {
      rmSync(join(folder, name), { force: true });
      make(join(folder, name));
    }
    latch.trip(stop(1));
    latch.trip(stop(2));
    latch.sync();
    expect(new ScramLatch(folder).status()).toEqual({
      state: "TRIPPED",
      stops: [stop(1), stop(2)],
    });
    latch.lift([stop(1).event_id, stop(2).event_id]);
    expect(latch.status()).toEqual({ state: "ARMED" });
  });

  it("a link is not followed: what it leads to stays as it is", () => {
    const latch = new ScramLatch(folder);
    writeFileSync(join(folder, "precious"), "precious");
    symlinkSync(join(folder, "precious"), join(folder, "LATCH.spare"));
    latch.trip(stop(1));
    latch.lift([stop(1).event_id]);
    latch.reserve();
    expect(readFileSync(join(folder, "precious"), "utf8")).toBe("precious");
  });
});

describe("the proof that no stop was lost", () => {
  it("is broken by a stop before all else, and so is missing when that stop could not be written", () => {
    const { latch } = settledFolder();
    expect(offlineStatus(folder)).toMatchObject({ state: "ARMED", trouble: null });
    latch.trip(stop(1));
    rmSync(latch.path);
    expect(offlineStatus(folder)).toMatchObject({ state: "FAILED", stops: [] });
  });

  it.each<[string, (latch: ScramLatch, journal: Journal) => void]>([
    [
      "is removed",
      () => {
        rmSync(join(folder, "SETTLED"));
      },
    ],
    [
      "is empty",
      () => {
        writeFileSync(join(folder, "SETTLED"), "");
      },
    ],
    [
      "is a named pipe",
      () => {
        rmSync(join(folder, "SETTLED"));
        execFileSync("mkfifo", [join(folder, "SETTLED")]);
      },
    ],
    [
      "knows a longer journal",
      (latch, journal) => {
        journal.append("engine.lost", NOW, {});
        latch.settle({ lines: 2, head: journal.head });
        const [first = ""] = readFileSync(journal.path, "utf8").split("\n");
        writeFileSync(journal.path, `${first}\n`);
      },
    ],
    [
      "knows another journal",
      (_, journal) => {
        const other = Journal.open(`${journal.path}.other`);
        other.append("sentinel.started", NOW, { settled: true, pid: 7 });
        new ScramLatch(folder).settle({ lines: 1, head: journal.head });
        renameSync(other.path, journal.path);
      },
    ],
    [
      "outlives its journal",
      (latch, journal) => {
        latch.settle({ lines: 1, head: journal.head });
        rmSync(journal.path);
      },
    ],
    [
      "goes with its journal",
      (_, journal) => {
        rmSync(join(folder, "SETTLED"));
        rmSync(journal.path);
      },
    ],
  ])("stops everything where it %s", (_, change) => {
    const { latch, journal } = settledFolder();
    change(latch, journal);
    const status = offlineStatus(folder);
    expect(status.state).toBe("FAILED");
    expect(status.trouble).not.toBeNull();
  });

  it("is not asked of a folder that was never used, nor of a version that left none", () => {
    expect(offlineStatus(folder)).toMatchObject({ state: "ARMED", trouble: null });
    Journal.open(join(folder, "journal.jsonl")).append("sentinel.started", NOW, { pid: 1 });
    expect(offlineStatus(folder)).toMatchObject({ state: "ARMED", trouble: null });
  });
});

describe("a stop that was called for and that nobody carried out yet", () => {
  it("is in force at once", () => {
    settledFolder();
    writeFileSync(join(folder, "call.77"), "{}", { mode: 0o600 });
    expect(offlineStatus(folder)).toMatchObject({ state: "ARMED" });
    writeFileSync(join(folder, "call.77.ready"), "", { mode: 0o600 });
    expect(offlineStatus(folder)).toMatchObject({ state: "EXECUTING", stops: [] });
    expect(refusalAt(folder, OWNER)).toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
    rmSync(join(folder, "call.77.ready"));
    expect(refusalAt(folder, OWNER)).toBeNull();
    writeFileSync(join(folder, "signal"), "", { mode: 0o600 });
    expect(offlineStatus(folder)).toMatchObject({ state: "EXECUTING" });
  });

  it("is none where what calls would not be obeyed", () => {
    settledFolder();
    symlinkSync("/etc/hostname", join(folder, "signal"));
    expect(offlineStatus(folder)).toMatchObject({ state: "ARMED" });
  });
});

const disk = SmallDisk.mount(16);
describe.skipIf(disk === null)("on a disk without room (needs root, to mount a small one)", () => {
  afterEach(() => {
    disk?.empty();
  });

  it.each([
    ["with room taken in advance", true],
    ["with that removed", false],
  ])("three stops hold, %s", (_, spares) => {
    const where = join(disk?.path ?? "", `scram-${String(spares)}`);
    const { latch } = settledFolder(where);
    if (!spares) {
      for (const name of ["", "-2", "-3", "-4"]) rmSync(join(where, `LATCH.spare${name}`));
    }
    disk?.fill(0);
    const trip = (number: number): void => {
      try {
        latch.trip(stop(number, { kind: "tenant", tenant_id: `tenant-${number}` }));
      } catch {
        // What could not be written is remembered by what is missing.
      }
    };
    for (const number of [1, 2, 3]) trip(number);
    const now = new ScramLatch(where).status();
    if (spares) expect(now).toMatchObject({ state: "TRIPPED", stops: [{}, {}, {}] });
    expect(existsSync(join(where, "SETTLED"))).toBe(false);
    expect(offlineStatus(where).state).toBe("FAILED");
    rmSync(where, { recursive: true });
  });
});
