import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Action,
  type ActionContext,
  checkSignature,
  GENESIS_HASH,
  type Signer,
  utf8Encode,
} from "@sovereign/core";
import { Authority, INSTALLATION_KEYS } from "../packages/runtime/src/authority/index.ts";
import { createKernel, type Stage } from "../packages/runtime/src/kernel/index.ts";
import { newId, systemClock, systemEntropy } from "../packages/runtime/src/system/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../packages/runtime/src/ledger/index.ts";
import { openInstallation } from "../packages/runtime/src/installation/index.ts";
import { PolicyEngine, parsePolicy } from "../packages/runtime/src/policy/index.ts";
import { RunRecorder } from "../packages/runtime/src/runs/index.ts";
import { type BenchReport, type BenchRow, measure, quantiles, round } from "./report.ts";

const COUNT = 3000;
/** About what a policy binding of the action below has. */
const MESSAGE_BYTES = 1000;
const ACTION: Action = { type: "model.train", resource: "model", params: { trees: 60 } };

/** The whole governed path without an effect: issue, check, intent, outcome; on a real store. */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  const installation = await openInstallation({
    home: folder,
    databaseUrl: null,
    passphrase: null,
  });
  try {
    const slots = [...INSTALLATION_KEYS, { purpose: "role", role: "trainer" } as const];
    await installation.keyLog.initialise(installation.keystore, slots);
    const limit = await signatures(installation);
    const rows = [
      limit.row,
      ...(await bench(installation, 1, limit.rate)),
      ...(await bench(installation, 32, limit.rate)),
    ];
    return { title: "The governed path without the effect, microseconds", rows };
  } finally {
    await installation.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Opened = Awaited<ReturnType<typeof openInstallation>>;

/**
 * What the signatures of an action alone allow, on one thread as the path has it: the role's and the
 * binding's are each made once and checked once.
 */
async function signatures(installation: Opened): Promise<{ row: BenchRow; rate: number }> {
  const { keystore, keyLog } = installation;
  const windows = keyLog.current().windows;
  const [role, binding] = await Promise.all(
    (["role", "binding"] as const).map((purpose) => {
      const key = windows.find(({ record }) => record.purpose === purpose)?.record.key_id ?? "";
      return keystore.signer(key);
    }),
  );
  const message = new Uint8Array(MESSAGE_BYTES);
  const both = (at: number): void => {
    message[at % MESSAGE_BYTES] = at & 0xff;
    for (const signer of [role, binding] as Signer[]) {
      if (!checkSignature(signer.publicKey, message, signer.sign(message))) throw new Error("bad");
    }
  };
  const samples = measure(both, COUNT);
  const rate = COUNT / (samples.reduce((sum, one) => sum + one, 0) / 1e6);
  const { p50, p99 } = quantiles(samples);
  const values = { p50: round(p50), p99: round(p99), "actions/s": round(rate) };
  return { row: { name: "two signatures made and checked, nothing else", values }, rate };
}

async function bench(installation: Opened, inFlight: number, limit: number): Promise<BenchRow[]> {
  const { keyLog, keystore, store, scram } = installation;
  const text = "policy_id: bench\nschema_version: 1.0.0\noperations: [model.train]\n";
  const policy = new PolicyEngine(parsePolicy(utf8Encode(text), "policy.yaml"));
  const authority = new Authority({
    keystore,
    keys: () => keyLog.current(),
    decide: (action, context) => policy.decide(action, context),
    clock: systemClock,
    entropy: systemEntropy,
  });
  const stages = new Map<string, number[]>();
  const note = (stage: Stage | "issue" | "whole", ms: number): void => {
    const samples = stages.get(stage);
    if (samples === undefined) stages.set(stage, [ms * 1000]);
    else samples.push(ms * 1000);
  };
  const start = performance.now();
  const lane = async (): Promise<void> => {
    const runId = newId("run_", systemEntropy);
    const writer = new StreamWriter(store, "bench", runId, EMPTY_STREAM);
    const recorder = new RunRecorder({
      runId,
      tenantId: "bench",
      writer,
      clock: systemClock,
      epoch: null,
    });
    await recorder.write(
      {
        event: "run.admitted",
        severity: "INFO",
        data: {},
        envelopes: [],
        nonces: [],
        keyEpoch: null,
      },
      {
        runId,
        tenantId: "bench",
        name: "bench",
        mode: "sovereign",
        status: "running",
        plan: utf8Encode("{}"),
        planDigest: GENESIS_HASH,
        reason: null,
        sealed: null,
      },
    );
    const kernel = createKernel({
      scram,
      policy,
      keys: { current: () => keyLog.current(), refresh: () => keyLog.refresh() },
      recorder,
      effects: {
        "model.train": () =>
          Promise.resolve({
            status: "completed",
            output: null,
            artifacts: [],
            usage: { wall_ms: 0, output_bytes: 0 },
          }),
      },
      onStage: note,
    });
    for (let index = 0; index < COUNT / inFlight; index++) {
      const context: ActionContext = {
        tenant_id: "bench",
        run_id: runId,
        step_id: `step${index}`,
        attempt: 1,
        role: "trainer",
        mode: "sovereign",
        config_digest: GENESIS_HASH,
        policy_digest: policy.policyDigest,
      };
      const began = performance.now();
      const authorization = await authority.issueAuthorization(ACTION, context);
      note("issue", performance.now() - began);
      const outcome = await kernel.execute({
        action: ACTION,
        context,
        authorization,
        approvals: [],
      });
      note("whole", performance.now() - began);
      if (outcome.status !== "COMPLETED") throw new Error(outcome.reason);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  const seconds = (performance.now() - start) / 1000;
  const order = [
    "issue",
    "preflight",
    "policy",
    "authority",
    "intent",
    "effect",
    "outcome",
    "whole",
  ];
  return order.map((stage) => {
    const { p50, p99 } = quantiles(stages.get(stage) ?? []);
    const reached = COUNT / seconds;
    const rate =
      stage === "whole"
        ? { "actions/s": round(reached), "of the limit": round(reached / limit) }
        : {};
    return {
      name: `${inFlight} in flight: ${stage}`,
      values: { p50: round(p50), p99: round(p99), ...rate },
    };
  });
}
