import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Envelope } from "@sovereign/core";
import { afterAll, describe, expect, it, vi } from "vitest";
import type { ScramReport } from "../../src/services/scram/scram-reports.ts";
import type { DrillRig } from "../../src/services/index.ts";
import { createScramServices } from "../../src/services/scram/scram-services.ts";
import { SovereignRunner } from "../../src/services/batch/batch-runner.ts";
import { Journal, type ScramLink } from "../../src/scram/index.ts";
import { pidsOf, rig, stateOf } from "../support/scram-rig.ts";
import { holdWithoutGroups } from "../support/without-groups.ts";

const COMMAND = resolve("packages/runtime/bin/scram");
const folder = mkdtempSync(join(tmpdir(), "sov-script-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface End {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function scram(home: string, args: string[] = [], path = process.env["PATH"]): Promise<End> {
  const env = { PATH: path, SOVEREIGN_HOME: home };
  const child = spawn("/bin/sh", [COMMAND, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += String(chunk)));
  child.stderr.on("data", (chunk) => (err += String(chunk)));
  const code = await new Promise<number | null>((end) => child.on("close", end));
  return { code, out, err };
}

function lastOf(one: DrillRig): { event: string; data: unknown } | undefined {
  return Journal.open(join(one.home, "scram", "journal.jsonl")).lines.at(-1);
}

function fileOf(order: Envelope): string {
  const path = join(folder, "order.json");
  writeFileSync(path, JSON.stringify(order));
  return path;
}

/** Nobody of the kill switch is left who could notice or act. */
async function stopAll(link: ScramLink): Promise<() => void> {
  const { pid, engine, dead_man } = await pidsOf(link);
  const all = [dead_man, pid, engine ?? 0];
  for (const one of all) process.kill(one, "SIGSTOP");
  return () => {
    for (const one of [dead_man, pid]) process.kill(one, "SIGKILL");
  };
}

function statusOf(home: string): Promise<ScramReport> {
  const opened = (): Promise<never> => Promise.reject(new Error("no database here"));
  return createScramServices(home, {}, () => null, opened).scramStatus();
}

const LOOKED = /this command killed and looked by itself: [1-9]\d* dead, 0 alive\./;

describe("the shell script, where no part of the kill switch answers", () => {
  it("kills by itself, looks, and says what it saw; the next sentinel is tripped", async () => {
    const one = await rig();
    const other = await rig();
    await one.hold(4);
    await other.hold(1);
    const end = await stopAll(one.link);
    try {
      const before = await statusOf(one.home);
      expect(before.sentinel).toBeNull();
      expect(before.living).toBeGreaterThan(0);
      expect(await SovereignRunner.healthCheck(() => Promise.resolve(before))).toMatchObject({
        runner_status: "HALTED",
        reason: expect.stringContaining("LIVE") as string,
      });
      const { code, err } = await scram(one.home);
      expect(err).toMatch(LOOKED);
      expect(one.survivors()).toBe(0);
      expect(code).toBe(0);
      expect(await statusOf(one.home)).toMatchObject({ sentinel: null, living: 0 });
    } finally {
      end();
    }
    await vi.waitUntil(async () => (await stateOf(one)) === "COMPLETE", { timeout: 20_000 });
    // Another installation is none of its business.
    expect(other.survivors()).toBeGreaterThan(0);
    expect(await stateOf(other)).toBe("ARMED");
  });

  it.runIf(process.getuid?.() === 0)("does so without control groups", async () => {
    const { one, link } = await holdWithoutGroups();
    const end = await stopAll(link);
    try {
      const { code, err } = await scram(one.home);
      expect(err).toMatch(LOOKED);
      expect(one.survivors()).toBe(0);
      expect(code).toBe(0);
    } finally {
      end();
      link.close();
    }
  });

  it("says that it could not look where it cannot", async () => {
    const one = await rig();
    await one.hold(1);
    const end = await stopAll(one.link);
    try {
      const { code, err } = await scram(one.home, [], "/nonexistent");
      expect(err).toContain("whether anything lives could not be looked at");
      expect(code).toBe(1);
    } finally {
      end();
    }
  });
});

describe("the shell script", () => {
  it("stops everything without keys, and says when it is dead", async () => {
    const one = await rig();
    await one.hold(4);
    const { code, out } = await scram(one.home, ["--reason", "security_breach"]);
    expect(one.survivors()).toBe(0);
    expect(out).toMatch(/^COMPLETE: verified dead after [\d.]+ ms\n$/);
    expect(code).toBe(0);
    expect(lastOf(one)).toMatchObject({
      event: "scram.executed",
      data: { event: { reason: "security_breach", operator_key_hash: null } },
    });
    expect(readdirSync(join(one.home, "scram")).filter((name) => name.includes("call."))).toEqual(
      [],
    );
  });

  it("has made its call before it would start any other program", async () => {
    const one = await rig();
    await one.hold(2);
    await scram(one.home, [], "/nonexistent");
    await vi.waitUntil(() => lastOf(one)?.event === "scram.executed", { timeout: 20_000 });
    expect(one.survivors()).toBe(0);
  });

  it("hands over an order, and tells of one that was given before", async () => {
    const one = await rig();
    await one.hold(2);
    const order = fileOf(one.order({ metadata: { refused: "no", scram_state: "no" } }));
    const { code, out } = await scram(one.home, ["--order", order]);
    expect(out).toContain("COMPLETE: verified dead");
    expect(code).toBe(0);
    expect(one.survivors()).toBe(0);
    const { operator } = one.signers;
    expect(lastOf(one)).toMatchObject({
      data: { event: { operator_key_hash: operator.publicKey.keyId } },
    });
    const again = await scram(one.home, ["--order", order]);
    expect(again.err).toContain("refused: ");
    expect(again.code).toBe(3);
  });

  it.each([
    ["an order that is not there", ["--order", "/nonexistent/order"]],
    ["half an option", ["--reason"]],
    ["a reason that is none", ["--reason", 'x","y":"']],
    ["another word", ["--now"]],
  ])("refuses %s", async (_, args) => {
    expect((await scram(folder, args)).code).toBe(2);
  });

  it("says so where no data folder is", async () => {
    const { code, err } = await scram(join(folder, "none"));
    expect(code).toBe(2);
    expect(err).toContain("set SOVEREIGN_HOME");
  });
});
