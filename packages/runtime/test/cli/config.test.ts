import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nearestName } from "@sovereign/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SETTINGS } from "../../src/home/index.ts";

const CLI = join(import.meta.dirname, "../../bin/sovereign.js");
let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "sov-config-"));
  writeFileSync(join(home, "config.yaml"), "scram:\n  linger_seconds: 7\n");
});
afterAll(() => {
  rmSync(home, { recursive: true });
});

function config(...words: string[]): { status: number | null; out: string; err: string } {
  const { PATH = "" } = process.env;
  const DATABASE_URL = "postgres://me:hunter2@db.example/x";
  const env = { PATH, HOME: home, SOVEREIGN_HOME: home, DATABASE_URL };
  const end = spawnSync(process.execPath, [CLI, "config", ...words], { env, encoding: "utf8" });
  return { status: end.status, out: end.stdout, err: end.stderr };
}

it("config lists every setting with its value and source, and shows no password", () => {
  const { status, out } = config("list");
  expect(status).toBe(0);
  for (const { name } of SETTINGS) expect(out).toContain(`\n${name} `);
  expect(out).toMatch(/^scram\.linger_seconds +7 +config\.yaml$/m);
  expect(out).toMatch(/^database\.url .*\*\*\*.* DATABASE_URL$/m);
  expect(out).toMatch(/^keys\.enrol +automatic +default$/m);
  expect(out).not.toContain("hunter2");
});

it("config get says one value, and what a misspelt name was meant to be", () => {
  expect(config("get", "scram.linger_seconds")).toMatchObject({ status: 0, out: "7\n" });
  const { status, err } = config("get", "scram.lingerseconds");
  expect(status).toBe(2);
  expect(err).toMatch(/Did you mean scram\.linger_seconds\?.*\(ERR_SETTING_UNKNOWN\)/);
});

it.each([
  ["keys.enroll", "keys.enrol"],
  ["HOME", "home"],
  ["linger_seconds", "scram.linger_seconds"],
  ["zzzzzz", null],
  ["x".repeat(100_000), null],
])("the nearest name of %.20s is %s", (name, expected) => {
  const names = SETTINGS.map((one) => one.name);
  expect(nearestName(name, names)).toBe(expected);
});
