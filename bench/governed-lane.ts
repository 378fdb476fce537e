import { type Action, type ActionContext, GENESIS_HASH, utf8Encode } from "@sovereign/core";
import { Authority, INSTALLATION_KEYS } from "../packages/runtime/src/authority/index.ts";
import type { openInstallation } from "../packages/runtime/src/installation/index.ts";
import { createKernel, type Stage } from "../packages/runtime/src/kernel/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../packages/runtime/src/ledger/index.ts";
import { PolicyEngine, parsePolicy } from "../packages/runtime/src/policy/index.ts";
import { RunRecorder } from "../packages/runtime/src/runs/index.ts";
import { newId, systemClock, systemEntropy } from "../packages/runtime/src/system/index.ts";

type Opened = Awaited<ReturnType<typeof openInstallation>>;
export type Note = (stage: Stage | "issue" | "whole", ms: number) => void;

const ACTION: Action = { type: "model.train", resource: "model", params: { trees: 60 } };
const POLICY = "policy_id: bench\nschema_version: 1.0.0\noperations: [model.train]\n";

export async function enrolLanes({ keyLog, keystore }: Opened): Promise<void> {
  const slots = [...INSTALLATION_KEYS, { purpose: "role", role: "trainer" } as const];
  await keyLog.initialise(keystore, slots);
}

/**
 * A run of its own, whose steps pass the whole governed path and do nothing: issue, check, intent, outcome.
 * @param note is told how long each stage took, in milliseconds
 * @returns what does the next step
 */
export async function openLane(
  { keyLog, keystore, store, scram }: Opened,
  note: Note,
): Promise<() => Promise<void>> {
  const policy = new PolicyEngine(parsePolicy(utf8Encode(POLICY), "policy.yaml"));
  const authority = new Authority({
    keystore,
    keys: () => keyLog.current(),
    decide: (action, context) => policy.decide(action, context),
    clock: systemClock,
    entropy: systemEntropy,
  });
  const runId = newId("run_", systemEntropy);
  const recorder = new RunRecorder({
    runId,
    tenantId: "bench",
    writer: new StreamWriter(store, "bench", runId, EMPTY_STREAM),
    clock: systemClock,
    epoch: null,
  });
  await admit(recorder, runId);
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
  let index = 0;
  return async () => {
    const context: ActionContext = {
      tenant_id: "bench",
      run_id: runId,
      step_id: `step${index++}`,
      attempt: 1,
      role: "trainer",
      mode: "sovereign",
      config_digest: GENESIS_HASH,
      policy_digest: policy.policyDigest,
    };
    const began = performance.now();
    const authorization = await authority.issueAuthorization(ACTION, context);
    note("issue", performance.now() - began);
    const request = { action: ACTION, context, authorization, approvals: [] };
    const outcome = await kernel.execute(request);
    note("whole", performance.now() - began);
    if (outcome.status !== "COMPLETED") throw new Error(outcome.reason);
  };
}

async function admit(recorder: RunRecorder, runId: string): Promise<void> {
  const about = { data: {}, envelopes: [], nonces: [], keyEpoch: null };
  await recorder.write(
    { event: "run.admitted", severity: "INFO", ...about },
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
}
