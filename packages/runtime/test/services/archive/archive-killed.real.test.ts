import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { INSTALLATION_LOG } from "@sovereign/core";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { commitSealedRun } from "../../support/archived-run.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

const PROGRAM = join(import.meta.dirname, "../../support/archive-program.ts");
const BEFORE = "2026-06-01T00:00:00.000Z";
/** Runs of two entries each: more than leave the database in one transaction. */
const RUNS = 600;
const work = mkdtempSync(join(tmpdir(), "sov-archive-killed-"));
const file = join(work, "archive.tar");
let rig: GoalRig;
let before: unknown;

beforeAll(async () => {
  rig = await openGoalRig();
  // Its keys come into force with the first run.
  await rig.runGoal(null);
  const runs = Array.from({ length: RUNS }, () => commitSealedRun(rig.installation.store, "acme"));
  await Promise.all(runs);
  before = await evidence(rig.owner);
});
afterAll(async () => {
  await rig.close();
  rmSync(work, { recursive: true, force: true });
});

async function evidence(owner: pg.Client): Promise<unknown> {
  const found = await owner.query(
    "select to_jsonb(e) as row from sovereign.entries e where log_id = 'acme' union all select to_jsonb(v) from sovereign.envelopes v where log_id = 'acme' order by 1",
  );
  return found.rows;
}

async function inDatabase(): Promise<number> {
  const found = await rig.owner.query<{ count: string }>(
    "select count(*) as count from sovereign.entries where log_id = 'acme' and bytes is not null and convert_from(bytes, 'UTF8') like '%2026-01-01T%'",
  );
  return Number(found.rows[0]?.count);
}

function type(...words: string[]): { signal: string | null; report: unknown; said: string } {
  const done = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", PROGRAM, ...words],
    {
      env: { PATH: process.env["PATH"], HOME: rig.home, SOVEREIGN_HOME: rig.home },
      encoding: "utf8",
    },
  );
  const report: unknown = done.status === 0 ? JSON.parse(done.stdout) : null;
  return { signal: done.signal, report, said: done.stderr };
}

describe("a command that is killed with -9", () => {
  it("while it archives has lost nothing at any step, and goes on when it is typed again", async () => {
    const all = 2 * RUNS;
    const kills: [string, string, number, boolean][] = [
      ["archive.written", "700", all, false],
      ["archive.read", "1", all, true],
      ["placed", "1", all, true],
      ["verified", "1", all, true],
      ["recorded", "1", all, true],
      ["signed", "1", all, true],
      ["kept", "1", all, true],
      ["archive.taken", "1", all - 500, true],
      ["archive.taken", "2", all - 1000, true],
    ];
    for (const [at, count, left, written] of kills) {
      const { signal, said } = type("archive", file, BEFORE, at, count);
      expect([at, signal, said]).toEqual([at, "SIGKILL", ""]);
      expect([at, await inDatabase(), existsSync(file)]).toEqual([at, left, written]);
    }
    const done = type("archive", file, BEFORE);
    expect(done.report).toMatchObject({ entries: all, runs: RUNS, taken: all - 1000 });
    expect(await inDatabase()).toBe(0);
    // Recorded once, whatever was killed after it.
    let recorded = 0;
    for await (const { bytes } of rig.installation.store.readStream(INSTALLATION_LOG, "ledger")) {
      if (Buffer.from(bytes).includes('"ledger.archived"')) recorded += 1;
    }
    expect(recorded).toBe(1);
  });

  it("while it restores has lost nothing, and goes on when it is typed again", async () => {
    for (const [count, there] of [
      ["1", 500],
      ["2", 1000],
    ] as const) {
      const { signal } = type("restore", file, "", "archive.put_back", count);
      expect([signal, await inDatabase()]).toEqual(["SIGKILL", there]);
    }
    const done = type("restore", file);
    expect(done.report).toMatchObject({ entries: 2 * RUNS, putBack: 2 * RUNS - 1000 });
    expect(await evidence(rig.owner)).toEqual(before);
  });
});
