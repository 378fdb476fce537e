import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VendorStore } from "../../../src/agents/index.ts";
import { adapterOf } from "../../../src/coding/index.ts";

const BIN = fileURLToPath(new URL("../../../bin/sovereign.js", import.meta.url));
const claude = adapterOf("claude");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-doctor-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A package as npm leaves it, of a version; nobody starts its program. */
function install(version: string): void {
  const { package: name, file } = claude.program(process.arch);
  const path = join(folder, "agents", name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, file), "");
  writeFileSync(join(path, "package.json"), JSON.stringify({ name, version }));
}

function doctor(): Promise<{ exit: number; row: JsonObject }> {
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    SOVEREIGN_HOME: join(folder, "data"),
    SOVEREIGN_AGENTS: join(folder, "agents"),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [BIN, "agent", "doctor", "--json"], { env }, (error, stdout) => {
      const row = JSON.parse(stdout) as JsonObject;
      resolve({ exit: error === null ? 0 : Number(error.code), row });
    });
  });
}

/** A vendor at an address of this machine. */
async function addVendor(port: number): Promise<void> {
  const home = join(folder, "data");
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const about = { name: "here", baseUrl: `http://127.0.0.1:${port}`, auth: "x-api-key" } as const;
  const prices = { provider: null, price: null, outputField: "max_tokens" } as const;
  const vendor = { ...about, ...prices, wires: ["anthropic_messages"] as const, key: "sk" };
  const vendors = new VendorStore(join(home, "models"), null);
  await vendors.add(vendor, "2026-01-01T00:00:00.000Z", false);
}

test("names the program that is missing, and how to get it", async () => {
  const { exit, row } = await doctor();
  expect(exit).toBe(1);
  expect(row).toMatchObject({ ready: false, state: "missing", version: null, hooks: null });
  expect(row["next"]).toContain("npm run agents:install");
});

test("names the version that was not tested", async () => {
  install("9.9.9");
  const { exit, row } = await doctor();
  expect(exit).toBe(1);
  expect(row).toMatchObject({ ready: false, state: "untested", version: "9.9.9", models: [] });
});

test("is content with a program, a sandbox, and a model that takes connections", async () => {
  install(claude.versions.to);
  let taken = 0;
  const server = createServer((socket) => {
    taken += 1;
    socket.on("data", () => expect.unreachable("nothing is sent")).on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await addVendor((server.address() as AddressInfo).port);
  const well = await doctor();
  expect(well.row).toMatchObject({ ready: true, state: "found", version: claude.versions.to });
  expect(well.row).toMatchObject({ hooks: null, models: [{ vendor: "here", reachable: true }] });
  expect(well.row["sandbox"]).toMatch(/^G[23]$/);
  expect(well.exit).toBe(0);
  expect(taken).toBe(1);
  await new Promise((resolve) => server.close(resolve));
  const ill = await doctor();
  expect(ill.row).toMatchObject({ ready: false, models: [{ reachable: false }] });
  expect(ill.exit).toBe(1);
});
