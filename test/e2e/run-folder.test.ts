import { existsSync, lstatSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { difference, endOf, KillRig, lookAt } from "../../bench/exec-kill-rig.ts";
import { ownerText } from "../../packages/runtime/src/executor/index.ts";

let rig: KillRig;
let root: string;
let runs: string;
beforeAll(async () => {
  rig = new KillRig();
  root = rig.repository();
  runs = join(rig.home, "runs");
  await rig.cli("keys", "init", "--role", "executor", "--operator", "alice", "--architect", "bob");
});
afterAll(async () => {
  expect(await rig.survivors(20_000)).toEqual([]);
  rig.dispose();
});

const newMark = (): string | undefined =>
  existsSync(runs) ? readdirSync(runs).find((name) => name.startsWith(".new-")) : undefined;

/** Kill an execution while its folder is made and the ledger was told nothing. */
async function killEarly(): Promise<string> {
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    const control = rig.start(rig.runArguments(root));
    const ended = endOf(control);
    while (newMark() === undefined && control.exitCode === null) await sleep(1);
    control.kill("SIGKILL");
    await ended;
    const mark = newMark();
    if (mark !== undefined) return mark.slice(".new-".length);
  }
  throw new Error("No kill met a run before its first entry.");
}

/** Of a process that was here before this machine's last start. */
const deadOwner = (run: string): string => ownerText(run).replace(/^\d+ \d+/, "1 1");

const isThere = (name: string): boolean =>
  lstatSync(join(runs, name), { throwIfNoEntry: false }) !== undefined;

async function execute(): Promise<string> {
  const { documents, err } = await endOf(rig.start(rig.runArguments(root)));
  expect(err).toBe("");
  expect(documents.at(-1)).toMatchObject({ status: "completed", verdict: "VALID" });
  return String(documents.at(-1)?.["run"]);
}

describe("a run that was killed before its first entry", () => {
  it("is named by whoever asks for it, and leaves nothing", async () => {
    for (const words of [
      ["exec", "status"],
      ["run", "resume"],
    ]) {
      const before = lookAt(root);
      const run = await killEarly();
      expect(await rig.cli("run", "list")).toMatchObject({ documents: [] });
      const { code, documents } = await rig.cli(...words, run);
      expect(code).toBe(2);
      expect(JSON.stringify(documents)).toMatch(
        /ERR_RUN_NOT_FOUND[^]*killed before its first entry/,
      );
      expect(readdirSync(runs)).toEqual([]);
      // The lock of the dead holds nobody up; the next command in the repository takes it away.
      const changed = difference(lookAt(root), before);
      expect(changed.filter((one) => !one.includes("sovereign.lock"))).toEqual([]);
    }
  });

  it("is taken away by the next run", async () => {
    const killed = await killEarly();
    const run = await execute();
    expect(run).not.toBe(killed);
    expect(readdirSync(runs)).toEqual([run]);
  });

  it("is told from one that lives, may still be recorded, or is recorded", async () => {
    const [run = ""] = readdirSync(runs);
    const [living, late, gone] = ["a", "b", "c"].map((one) => `run_${one.repeat(20)}`) as [
      string,
      string,
      string,
    ];
    for (const one of [living, late, gone]) mkdirSync(join(runs, one));
    symlinkSync(`${ownerText(living)} default`, join(runs, `.new-${living}`));
    symlinkSync(`${deadOwner(late)} default`, join(runs, `.admit-${late}`));
    symlinkSync(`${deadOwner(gone)} default`, join(runs, `.new-${gone}`));
    symlinkSync(`${deadOwner(run)} default`, join(runs, `.admit-${run}`));
    const { documents } = await rig.cli("exec", "status", `run_${"d".repeat(20)}`);
    expect(JSON.stringify(documents)).toContain("ERR_RUN_NOT_FOUND");
    expect(JSON.stringify(documents)).not.toContain("killed");
    expect([living, late, run, `.new-${living}`, `.admit-${late}`].every(isThere)).toBe(true);
    expect([gone, `.new-${gone}`, `.admit-${run}`].some(isThere)).toBe(false);
    expect(await rig.cli("exec", "status", run)).toMatchObject({ code: 0 });
  });
});
