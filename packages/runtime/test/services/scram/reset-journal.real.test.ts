import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Signer } from "@sovereign/core";
import { afterAll, expect, it } from "vitest";
import { type Installation, openInstallation } from "../../../src/installation/index.ts";
import { createServices } from "../../../src/services/index.ts";
import { findSigner } from "../../../src/services/scram/find-signer.ts";
import { resetScram } from "../../../src/services/scram/reset-switch.ts";
import type { ScramReport } from "../../../src/services/scram/scram-reports.ts";

const STOP = {
  scope: { kind: "all" },
  reason: "security_breach",
  statement: null,
  metadata: {},
  order: null,
  remote: null,
} as const;
const home = mkdtempSync(join(tmpdir(), "sov-reset-"));
afterAll(async () => {
  await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

/** Whoever asks for its state keeps it from leaving, so that is asked last. */
async function sentinelLeft(): Promise<void> {
  while (existsSync(join(home, "scram/sentinel.sock"))) await sleep(50);
  const services = createServices({ PATH: process.env["PATH"], SOVEREIGN_HOME: home });
  while ((await services.scramStatus()).sentinel !== null) await sleep(50);
}

it("a reset makes a journal whole that was overwritten by no line, from the ledger", async () => {
  const services = createServices({ PATH: process.env["PATH"], SOVEREIGN_HOME: home });
  await services.initKeys([
    { purpose: "operator", role: "alice" },
    { purpose: "architect", role: "bob" },
  ]);
  const people = { operatorKey: "alice", architectKey: "bob" };
  await services.scramActivate({
    ...people,
    ...STOP,
  });
  // Whoever opens the installation has the ledger take the journal in.
  await services.listKeys();
  await sentinelLeft();
  const path = join(home, "scram/journal.jsonl");
  // A last line without its end is none: without it, this is a journal, and an empty one.
  const rubbish = Buffer.concat([Buffer.from([0xff, 0xfe, 0]), readFileSync(path).subarray(0, 40)]);
  writeFileSync(path, rubbish);
  expect((await services.scramStatus()).state).toBe("FAILED");
  const report = await services.scramReset({ ...people, statement: "looked into it" });
  expect(report.state).toBe("ARMED");
  const damaged = readdirSync(join(home, "scram")).find((name) => name.includes(".damaged-"));
  expect(readFileSync(join(home, "scram", damaged ?? ""))).toEqual(rubbish);
  // The ledger's lines are in it again, so the installation is opened.
  expect(await services.listKeys()).not.toEqual([]);
  expect(readFileSync(path, "utf8")).toContain("scram.executed");
});

it("a link in the place of the folder keeps neither a stop nor a reset from working", async () => {
  const services = createServices({ PATH: process.env["PATH"], SOVEREIGN_HOME: home });
  const scram = join(home, "scram");
  await sentinelLeft();
  renameSync(scram, `${scram}.moved`);
  symlinkSync(`${scram}.moved`, scram);
  expect(await services.scramStatus()).toMatchObject({ state: "FAILED", living: 0 });
  const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: home };
  const script = spawnSync("/bin/sh", [resolve("packages/runtime/bin/scram")], { env });
  expect(String(script.stderr)).toContain("everything is stopped");
  expect(script.status).toBe(0);
  expect(await services.scramStatus()).toMatchObject({ state: "FAILED" });
  // The old folder is none that anybody writes to: what was in it, the ledger has.
  const people = { operatorKey: "alice", architectKey: "bob" };
  const report = await services.scramReset({ ...people, statement: "looked into it" });
  expect(report.state).toBe("ARMED");
  expect(readFileSync(join(scram, "journal.jsonl"), "utf8")).toContain("looked into it");
  expect(await services.listKeys()).not.toEqual([]);
});

it("a reset lifts no stop that was given after it was begun", async () => {
  const environment = { PATH: process.env["PATH"], SOVEREIGN_HOME: home };
  const services = createServices(environment);
  const people = { operatorKey: "alice", architectKey: "bob" };
  const stop = (): Promise<unknown> => services.scramActivate({ ...STOP, ...people });
  // Two people typed it, and while their keys are opened a third party stops.
  const meanwhile = (): Promise<ScramReport> => {
    let given: Promise<unknown> | null = null;
    const sign = async (name: string, purpose: "operator" | "architect"): Promise<Signer> => {
      await (given ??= stop());
      return findSigner(home, null, name, purpose);
    };
    const opened = async <T>(work: (one: Installation) => Promise<T>): Promise<T> => {
      const one = await openInstallation({ home, databaseUrl: null, passphrase: null });
      return work(one).finally(() => one.close());
    };
    return resetScram(home, environment, sign, opened, { ...people, statement: "found" });
  };
  expect((await services.scramStatus()).state).toBe("ARMED");
  await expect(meanwhile()).rejects.toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
  const [first] = (await services.scramStatus()).stops;
  expect(first).toBeDefined();
  const after = await meanwhile();
  expect(after.state).toBe("COMPLETE");
  expect(after.stops).toHaveLength(1);
  expect(after.stops[0]?.event_id).not.toBe(first?.event_id);
  expect((await services.scramReset({ ...people, statement: "found, too" })).state).toBe("ARMED");
});
