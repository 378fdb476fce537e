import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VendorStore } from "../../../src/agents/index.ts";
import { ScramLatch } from "../../../src/scram/index.ts";
import { agentsFolder } from "../../../src/services/agents/agents-folder.ts";
import { copyCluster } from "../../support/prepared.ts";
import { type AgentAdapter, adapterOf, type InstalledAgent } from "../../../src/coding/index.ts";

const BIN = fileURLToPath(new URL("../../../bin/sovereign.js", import.meta.url));
const claude = adapterOf("claude");
const codex = adapterOf("codex");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-doctor-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A package as npm leaves it, of a version; nobody starts its program. */
function install({ packages }: InstalledAgent, version: string): void {
  const { package: name, file, suffix = "", beside = [] } = packages.program(process.arch);
  const path = join(folder, "agents", name);
  const program = join(path, file);
  mkdirSync(dirname(program), { recursive: true });
  for (const one of [program, ...beside.map((other) => join(dirname(program), other))]) {
    writeFileSync(one, "");
  }
  const about = { name, version: `${version}${suffix}` };
  writeFileSync(join(path, "package.json"), JSON.stringify(about));
}

interface Doctor {
  readonly exit: number;
  readonly row: (adapter: AgentAdapter) => JsonObject;
}

function doctor(words: readonly string[] = [], agents = join(folder, "agents")): Promise<Doctor> {
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    SOVEREIGN_HOME: join(folder, "data"),
    SOVEREIGN_AGENTS: agents,
  };
  return new Promise((resolve) => {
    const all = [BIN, "agent", "doctor", "--json", ...words];
    execFile(process.execPath, all, { env }, (error, stdout) => {
      const lines = stdout.split("\n").filter((line) => line !== "");
      const rows = lines.map((line) => JSON.parse(line) as JsonObject);
      const row = ({ name }: AgentAdapter): JsonObject =>
        rows.find((one) => one["agent"] === name) ?? {};
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

test("names each program that is missing, and how to get it", async () => {
  const { exit, row } = await doctor();
  expect(exit).toBe(1);
  for (const adapter of [claude, codex]) {
    const missing = { ready: false, state: "missing", version: null, hooks: null };
    expect(row(adapter)).toMatchObject(missing);
    expect(row(adapter)["next"]).toContain("npm run agents:install");
    expect(row(adapter)["next"]).toContain(adapter.packages.package);
  }
});

test("names the version that was not tested", async () => {
  install(claude, "9.9.9");
  install(codex, "9.9.9");
  const { exit, row } = await doctor();
  expect(exit).toBe(1);
  const untested = { ready: false, state: "untested", version: "9.9.9", models: [] };
  expect(row(claude)).toMatchObject(untested);
  expect(row(codex)).toMatchObject(untested);
});

test("is content with a program, a sandbox, and a model that speaks as the agent does", async () => {
  const { to } = claude.packages.versions;
  install(claude, to);
  install(codex, codex.packages.versions.to);
  let taken = 0;
  const server = createServer((socket) => {
    taken += 1;
    socket.on("data", () => expect.unreachable("nothing is sent")).on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await addVendor((server.address() as AddressInfo).port);
  const well = await doctor();
  expect(well.row(claude)).toMatchObject({ ready: true, state: "found", version: to, hooks: null });
  expect(well.row(claude)).toMatchObject({ models: [{ vendor: "here", reachable: true }] });
  expect(well.row(claude)["sandbox"]).toMatch(/^G[23]$/);
  expect(well.row(codex)).toMatchObject({ ready: false, state: "found", models: [] });
  expect(well.exit).toBe(0);
  expect(taken).toBe(1);
  await new Promise((resolve) => server.close(resolve));
  const ill = await doctor();
  expect(ill.row(claude)).toMatchObject({ ready: false, models: [{ reachable: false }] });
  expect(ill.exit).toBe(1);
});

test("proves the hooks of each installed agent when it is told to, and says what it saw", async () => {
  const home = join(folder, "data");
  copyCluster(join(home, "postgres"));
  // OpenCode takes ten seconds of a processor to start, which a busy machine does not leave to a sandbox.
  const real = join(folder, "real");
  for (const { packages } of [claude, codex]) {
    const { package: name } = packages.program(process.arch);
    mkdirSync(dirname(join(real, name)), { recursive: true });
    symlinkSync(join(agentsFolder(process.env), name), join(real, name));
  }
  const { row } = await doctor(["--prove"], real);
  for (const adapter of [claude, codex]) {
    expect(row(adapter)).toMatchObject({
      state: "found",
      proved: { ok: true, reason: null },
      sandbox: expect.stringMatching(/^G[23]$/) as unknown,
    });
  }
  // A program that does not start proves nothing, and nothing is ready.
  install(codex, codex.packages.versions.to);
  const broken = await doctor(["--prove"]);
  expect(broken.exit).toBe(1);
  const reason: unknown = expect.stringMatching(/^ERR_AGENT_HOOK/);
  expect(broken.row(codex)).toMatchObject({ ready: false, proved: { ok: false, reason } });
  // While the kill switch is tripped nothing is started.
  new ScramLatch(join(home, "scram")).trip({
    event_id: "SCRAM-20261128220000000000",
    scope: { kind: "all" },
    reason: "operator_initiated",
    tripped_at: "2026-11-28T22:00:00.000Z",
  });
  expect((await doctor(["--prove"])).exit).toBe(5);
}, 600_000);
