import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { KeyPurpose } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BatchReport, type RunInput, createServices } from "../../src/services/index.ts";
import { type Installation, openInstallation } from "../../src/installation/index.ts";

const NEWEST = { limit: 1, status: null, kind: null };

const home = mkdtempSync(join(tmpdir(), "sov-force-"));
const services = createServices({ PATH: process.env["PATH"], SOVEREIGN_HOME: home });
let held: Installation;

beforeAll(async () => {
  const commands = ["sleep", "sh"].map((one) => ({
    id: one,
    executable: one,
    allowed_args: ["*"],
  }));
  mkdirSync(join(home, "gate"));
  const policy = { policy_id: "p", schema_version: "1.0.0", allowlist: { commands } };
  writeFileSync(join(home, "policy.json"), JSON.stringify(policy));
  // The database stays up between the commands.
  held = await openInstallation({ home, databaseUrl: null, passphrase: null });
  await services.initKeys([
    { purpose: "role", role: "runner" },
    { purpose: "operator", role: "alice" },
    { purpose: "architect", role: "bob" },
  ]);
});
afterAll(async () => {
  await held.close();
  await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

const input: RunInput = {
  tenantId: "default",
  approvers: [],
  signal: new AbortController().signal,
  onProgress: () => undefined,
};

interface Action {
  readonly id: string;
  readonly argv: readonly string[];
}

function batch(...actions: readonly Action[]): Promise<BatchReport> {
  const file = join(home, "batch.json");
  const content = { batch_id: "b", policy: "policy.json", input: "gate", actions };
  writeFileSync(file, JSON.stringify({ schema_version: "1.0.0", ...content }));
  return services.runBatch(file, input);
}

const quick = (): Promise<BatchReport> => batch({ id: "one", argv: ["sleep", "0"] });

/** A batch whose first command ends when {@link open} is called, and whose second follows. */
function gated(): { readonly ended: Promise<unknown>; readonly open: () => void } {
  const gate = join(home, "gate", "open");
  rmSync(gate, { force: true });
  const until = "cd ..; cd input; until [ -e open ]; do sleep 0.05; done";
  const ended = batch(
    { id: "one", argv: ["sh", "-c", until] },
    { id: "two", argv: ["sleep", "0"] },
  );
  const settled = ended.catch((error: unknown) => error);
  return {
    ended: settled,
    open: () => {
      writeFileSync(gate, "");
    },
  };
}

async function idOf(purpose: KeyPurpose): Promise<string> {
  const keys = await services.listKeys();
  const window = keys.windows.findLast(({ record }) => record.purpose === purpose);
  return window?.record.key_id ?? "";
}

const revoke = async (purpose: KeyPurpose): Promise<unknown> =>
  services.revokeKey(await idOf(purpose), "stolen", false);
const replace = (purpose: KeyPurpose, role: string | null = null): Promise<unknown> =>
  services.replaceKey({ purpose, role }, "stolen");

const verdictOf = async ({ bundle }: { bundle: string | null }): Promise<string> => {
  const trustRoot = Buffer.from(JSON.stringify(await services.trustRoot()));
  return verifyBundle(readFileSync(bundle ?? ""), { trustRoot }).verdict;
};

async function untilRunning(): Promise<string> {
  for (let waited = 0; waited < 90_000; waited += 50) {
    const run = (await held.store.listRuns("default", NEWEST))[0];
    const steps = run === undefined ? [] : await held.store.listSteps("default", run.runId);
    if (run?.status === "running" && steps.some(({ status }) => status === "running")) {
      return run.runId;
    }
    await sleep(50);
  }
  throw new Error("the first command did not begin");
}

describe("a key of the installation that is revoked", () => {
  it("lets no run begin until it is replaced by the command that the refusal names", async () => {
    for (const purpose of ["seal", "sentinel"] as const) {
      await revoke(purpose);
      await expect(quick(), purpose).rejects.toMatchObject({
        code: "ERR_KEY_NOT_IN_FORCE",
        exitCode: 1,
        message: expect.stringContaining(`sovereign keys replace ${purpose}`) as string,
      });
      expect(await services.listRuns("default", NEWEST)).toEqual([]);
      expect(existsSync(join(home, "runs")) ? readdirSync(join(home, "runs")) : []).toEqual([]);
      await replace(purpose);
    }
    await revoke("role");
    await expect(quick()).rejects.toMatchObject({
      code: "ERR_KEY_NOT_FOUND",
      message: expect.stringContaining("sovereign keys replace role:runner") as string,
    });
    await replace("role", "runner");
    expect(existsSync(join(home, "runs")) ? readdirSync(join(home, "runs")) : []).toEqual([]);
  });

  it("is missed at a run's end: it waits, and goes on when the key is replaced", async () => {
    const { ended, open } = gated();
    const runId = await untilRunning();
    // What another process put in the place of these is asked for by the run.
    await replace("binding");
    await replace("role", "runner");
    await revoke("seal");
    open();
    expect(await ended).toMatchObject({
      code: "ERR_KEY_NOT_IN_FORCE",
      message: expect.stringContaining(`sovereign run resume ${runId}`) as string,
    });
    expect(await services.listRuns("default", NEWEST)).toMatchObject([
      { runId, status: "pending" },
    ]);
    await replace("seal");
    const report = await services.resume(runId, input);
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    // What was signed before another change stays good.
    await replace("checkpoint");
    expect(await verdictOf(report)).toBe("VALID");
  });
});

describe("a revoked key of the kill switch", () => {
  it("stops, does not reset, and is replaced by its purpose alone where one person has one", async () => {
    const both = { operatorKey: "alice", architectKey: "bob" };
    await revoke("operator");
    const stopped = await services.scramActivate({
      ...both,
      scope: { kind: "all" },
      reason: "operator_initiated",
      statement: null,
      metadata: {},
      order: null,
      remote: null,
    });
    expect(stopped).toMatchObject({ kind: "stopped", receipt: { authorized: false } });
    const reset = (): Promise<unknown> => services.scramReset({ ...both, statement: "fixed" });
    await expect(reset()).rejects.toMatchObject({
      code: "ERR_SCRAM_ORDER_KEY",
      message: expect.stringContaining("sovereign keys replace operator:alice") as string,
    });
    await replace("operator");
    expect(await reset()).toMatchObject({ state: "ARMED" });
  });
});
