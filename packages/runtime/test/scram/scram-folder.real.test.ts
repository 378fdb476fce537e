import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { connectScram, openDataFolder } from "../../src/home/index.ts";
import { identify, isAlive, type ProcessIdentity } from "../../src/process/index.ts";
import { Journal, ScramLatch, type ScramLink } from "../../src/scram/index.ts";
import { ENVIRONMENT, OWNER, pidsOf, rig } from "../support/scram-rig.ts";

const parents: string[] = [];
afterEach(() => {
  for (const parent of parents.splice(0)) {
    rmSync(parent, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }
});

function newHome(): string {
  const parent = mkdtempSync(join(tmpdir(), "sov-folder-"));
  parents.push(parent);
  return join(parent, "data");
}

function connected(home: string): Promise<ScramLink> {
  const { scram } = openDataFolder(home);
  mkdirSync(scram, { recursive: true, mode: 0o700 });
  return connectScram(home, ENVIRONMENT);
}

/** Who it is, so that another with its pid is not taken for it. */
async function sentinelOf(link: ScramLink): Promise<ProcessIdentity> {
  const found = identify((await pidsOf(link)).pid);
  if (found === null) throw new Error("no sentinel");
  return found;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 10) {
    if (holds()) return;
    await sleep(10);
  }
  throw new Error(`in vain: ${what}`);
}

describe("a data folder that is deleted", () => {
  it.for(["the sentinel lingers", "somebody is connected"])(
    "and made anew while %s is a new installation, as often as one likes",
    async (how) => {
      const home = newHome();
      const seen: ProcessIdentity[] = [];
      for (let round = 0; round < 5; round++) {
        const link = await connected(home);
        seen.push(await sentinelOf(link));
        expect(link.preflight().armed).toBe(true);
        const { lines } = Journal.open(join(home, "scram", "journal.jsonl"));
        expect(lines.map(({ event }) => event)).toEqual(["sentinel.started"]);
        if (how === "the sentinel lingers") link.close();
        rmSync(home, { recursive: true });
      }
      expect(new Set(seen.map(({ pid, started }) => `${pid} ${started}`)).size).toBe(5);
      for (const one of seen) await until("its sentinel ends", () => !isAlive(one));
    },
  );

  it("takes with it what ran, and nothing is written to what has its name now", async () => {
    const one = await rig();
    await one.hold(3, OWNER);
    const sentinel = await sentinelOf(one.link);
    const aside = `${one.home}-aside`;
    renameSync(one.home, aside);
    const { scram } = openDataFolder(one.home);
    mkdirSync(scram, { mode: 0o700 });
    await until("what ran is dead", () => one.survivors() === 0);
    await until("its sentinel ends", () => !isAlive(sentinel));
    expect(new ScramLatch(scram).status()).toEqual({ state: "ARMED" });
    expect(Journal.open(join(scram, "journal.jsonl")).lines).toEqual([]);
    rmSync(aside, { recursive: true });
  });
});
