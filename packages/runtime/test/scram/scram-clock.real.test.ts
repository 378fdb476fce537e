import { spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { DrillRig } from "../../src/services/index.ts";
import { programCommand } from "../../src/home/sentinel-process.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";
import { Journal, ScramLink } from "../../src/scram/index.ts";
import {
  children,
  ENVIRONMENT,
  OWNER,
  pidsOf,
  quiet,
  rig,
  stateOf,
  trivial,
} from "../support/scram-rig.ts";

const DAY_MS = 86_400_000;

/** Moves the wall clock of the process that it is loaded into by what a file says. */
const clockOf = (file: string): string => `
  import { readFileSync } from "node:fs";
  const True = Date;
  const now = () => True.now() + Number(readFileSync(${JSON.stringify(file)}, "utf8"));
  globalThis.Date = class extends True {
    constructor(...given) { if (given.length === 0) super(now()); else super(...given); }
    static now() { return now(); }
  };`;

/** A sentinel in the place of the rig's own, whose clock the test moves. */
async function withClock(one: DrillRig): Promise<{ link: ScramLink; jump: (ms: number) => void }> {
  const file = join(one.home, "clock");
  const jump = (ms: number): void => {
    writeFileSync(file, String(ms));
  };
  jump(0);
  process.kill((await pidsOf(one.link)).pid, "SIGKILL");
  const [node, ...args] = programCommand("sentinel");
  const hook = `data:text/javascript,${encodeURIComponent(clockOf(file))}`;
  const options = { env: ENVIRONMENT, stdio: "ignore" } as const;
  children.push(spawn(node, ["--import", hook, ...args, one.home], options));
  for (let waited = 0; waited < 20_000; waited += 20) {
    const link = await ScramLink.find(join(one.home, "scram"));
    if (link !== null) return { link, jump };
    await sleep(20);
  }
  throw new Error("the sentinel with a clock of its own does not answer");
}

describe("when the sentinel's clock jumps", () => {
  it.each([
    ["forward", DAY_MS],
    ["back", -DAY_MS],
  ])("%s by a day: what runs goes on, and the next order stops everything", async (_, by) => {
    const one = await rig();
    const { link, jump } = await withClock(one);
    const out = join(one.home, "out");
    mkdirSync(out);
    const writable = [{ source: out, target: "/out" }];
    const held = connectSandbox(link, OWNER)
      .run(trivial("echo > /out/ready; sleep 60; echo > /out/late", writable), quiet)
      .catch((error: unknown) => error);
    for (let waited = 0; !existsSync(join(out, "ready")); waited += 20) {
      if (waited > 20_000) throw new Error("the path does not start");
      await sleep(20);
    }
    jump(by);
    // Long enough for its own duties to come round.
    await sleep(1500);
    expect(await link.request({ t: "status" })).toMatchObject({ state: "ARMED", paths: 1 });
    const run = connectSandbox(link, OWNER).run(trivial("exit 3"), quiet);
    expect(await run).toMatchObject({ exitCode: 3 });
    // Its end may still be on its way to the list.
    const listed = async (): Promise<unknown> => link.request({ t: "status" });
    await expect.poll(listed, { timeout: 20_000 }).toMatchObject({ paths: 1 });

    const envelope = one.order({ scope: { kind: "run", run_id: `run_${"o".repeat(20)}` } });
    const answer = await link.request({
      t: "order",
      envelope: envelope,
    });
    expect(answer).toMatchObject({
      event: { scram_state: "COMPLETE" },
      body: { authorized: false, scope: { kind: "all" }, stragglers: [], paths: [{}] },
    });
    await held;
    expect(existsSync(join(out, "late"))).toBe(false);

    jump(0);
    link.close();
    expect(await stateOf(one)).toBe("COMPLETE");
    expect(Journal.open(join(one.home, "scram", "journal.jsonl")).lines.length).toBeGreaterThan(2);
    await one.reset();
    expect(await stateOf(one)).toBe("ARMED");
  });
});
