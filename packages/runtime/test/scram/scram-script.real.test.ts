import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Envelope } from "@sovereign/core";
import { afterAll, describe, expect, it, vi } from "vitest";
import type { DrillRig } from "../../src/main/index.ts";
import { Journal } from "../../src/scram/index.ts";
import { rig } from "../support/scram-rig.ts";

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
