import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { connectSandbox } from "../../src/sandbox/index.ts";
import { Journal } from "../../src/scram/index.ts";
import type { DrillRig } from "../../src/services/index.ts";
import { BACK_ENDS, requireInstalled } from "../support/back-ends.ts";
import {
  OWNER,
  type Pids,
  pidsOf,
  quiet,
  rig,
  soonDead,
  stateOf,
  trivial,
} from "../support/scram-rig.ts";
import { holdWithoutGroups } from "../support/without-groups.ts";

const HANG_MS = 20_000;

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function gone(pid: number): Promise<void> {
  for (let waited = 0; waited < HANG_MS && isThere(pid); waited += 10) await sleep(10);
  expect(isThere(pid)).toBe(false);
}

function linesOf(one: DrillRig): string {
  const { lines } = Journal.open(join(one.home, "scram", "journal.jsonl"));
  return JSON.stringify(lines);
}

/** What the receipts say, whose envelopes the journal names. */
function receiptsOf(one: DrillRig): string {
  const folder = join(one.home, "scram", "envelopes");
  return readdirSync(folder)
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as { payload: string })
    .map(({ payload }) => Buffer.from(payload, "base64").toString())
    .join("\n");
}

async function becomes(one: DrillRig, state: string): Promise<void> {
  await expect.poll(() => stateOf(one), { timeout: HANG_MS }).toBe(state);
}

type Who = "sentinel" | "engine" | "dead_man";

/** Who is stopped or killed, and what the next start records. */
const WEDGES: readonly {
  readonly title: string;
  readonly signals: readonly (readonly [Who, NodeJS.Signals])[];
  readonly why: RegExp;
}[] = [
  {
    title: "a sentinel that is stopped",
    signals: [["sentinel", "SIGSTOP"]],
    why: /the sentinel did not answer while [12] paths lived; the dead-man killed them/,
  },
  {
    title: "an engine that is stopped",
    signals: [["engine", "SIGSTOP"]],
    why: /the engine did not answer while [12] paths lived/,
  },
  {
    title: "a sentinel and an engine that are both stopped",
    signals: [
      ["engine", "SIGSTOP"],
      ["sentinel", "SIGSTOP"],
    ],
    why: /the sentinel did not answer while [12] paths lived; the dead-man killed them/,
  },
  {
    title: "a sentinel and a dead-man that are both stopped",
    signals: [
      ["dead_man", "SIGSTOP"],
      ["sentinel", "SIGSTOP"],
    ],
    why: /the sentinel did not answer while [12] paths lived; the engine ended them/,
  },
  {
    title: "a stopped sentinel whose dead-man is killed",
    signals: [
      ["sentinel", "SIGSTOP"],
      ["dead_man", "SIGKILL"],
    ],
    why: /the sentinel did not answer while [12] paths lived; the engine ended them/,
  },
];

/** Takes away what is still stopped. */
function endIfThere(pid: number): void {
  if (isThere(pid)) process.kill(pid, "SIGKILL");
}

function pidOf(pids: Pids, who: Who): number {
  return (who === "sentinel" ? pids.pid : pids[who]) ?? 0;
}

describe.each(BACK_ENDS)("what ran in $title dies", ({ backend, absent }) => {
  beforeEach(() => {
    requireInstalled(absent);
  });

  it.each(WEDGES)("with $title, and the next start finds it tripped", async (wedge) => {
    const one = await rig();
    await one.hold(2, OWNER, { backend });
    const before = await pidsOf(one.link);
    for (const [who, signal] of wedge.signals) process.kill(pidOf(before, who), signal);
    expect(await soonDead(one)).toBe(0);
    // What is still stopped is taken away, and the next one is started at once.
    for (const [who] of wedge.signals) endIfThere(pidOf(before, who));
    // From the first look on it is stopped; a sentinel that lives may still be at it.
    expect(["EXECUTING", "COMPLETE"]).toContain(await stateOf(one));
    await becomes(one, "COMPLETE");
    expect(receiptsOf(one)).toMatch(wedge.why);
  });
});

describe("where nothing ran", () => {
  it("a stopped sentinel makes way for another, and nothing trips", async () => {
    const one = await rig();
    const { pid } = await pidsOf(one.link);
    process.kill(pid, "SIGSTOP");
    await gone(pid);
    expect(await stateOf(one)).toBe("ARMED");
  });

  it("a stopped engine makes way for another, and nothing trips", async () => {
    const one = await rig();
    await connectSandbox(one.link, OWNER).run(trivial("true"), quiet);
    const { engine } = await pidsOf(one.link);
    process.kill(engine ?? 0, "SIGSTOP");
    await gone(engine ?? 0);
    const end = await connectSandbox(one.link, OWNER).run(trivial("exit 5"), quiet);
    expect(end.exitCode).toBe(5);
    expect(await stateOf(one)).toBe("ARMED");
  });

  it("a stopped dead-man makes way for another, which kills as the first would have", async () => {
    const one = await rig();
    await one.hold(2);
    const before = await pidsOf(one.link);
    process.kill(before.dead_man, "SIGSTOP");
    await gone(before.dead_man);
    const after = await pidsOf(one.link);
    expect(after.pid).toBe(before.pid);
    expect(linesOf(one)).toContain('"why":"silent"');
    process.kill(after.pid, "SIGSTOP");
    expect(await soonDead(one)).toBe(0);
    await becomes(one, "COMPLETE");
  });
});

describe.runIf(process.getuid?.() === 0)("without control groups", () => {
  it.each(["sentinel", "engine"] as const)("the %s is stopped: its paths die", async (who) => {
    const { one, link, ended } = await holdWithoutGroups();
    const pids = await pidsOf(link);
    process.kill((who === "engine" ? pids.engine : pids.pid) ?? 0, "SIGSTOP");
    expect(await soonDead(one)).toBe(0);
    await expect(ended).rejects.toMatchObject({
      code: expect.stringMatching(/ERR_SCRAM_(SENTINEL_LOST|TRIPPED)/) as string,
    });
    link.close();
    await becomes(one, "COMPLETE");
  });
});
