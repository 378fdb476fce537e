/**
 * A program of your own that acts only through the kernel: `node examples/embed/embed.ts`.
 *
 * It opens an installation in a throw-away folder, registers one effect, and shows that the effect
 * runs with a permission, runs once for each permission, and does not run without one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Action, type ActionContext, GENESIS_HASH, utf8Encode } from "@sovereign/core";
import {
  Authority,
  createKernel,
  EMPTY_STREAM,
  INSTALLATION_KEYS,
  openInstallation,
  PolicyEngine,
  parsePolicy,
  RunRecorder,
  StreamWriter,
  systemClock,
  systemEntropy,
} from "@sovereign/runtime";

const home = mkdtempSync(join(tmpdir(), "sovereign-embed-"));
const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
const { keyLog, keystore, store, scram } = installation;
await keyLog.initialise(keystore, [...INSTALLATION_KEYS, { purpose: "role", role: "greeter" }]);

const policy = new PolicyEngine(
  parsePolicy(
    utf8Encode("policy_id: embed\nschema_version: 1.0.0\noperations: [greeting.send]\n"),
    "policy.yaml",
  ),
);
const authority = new Authority({
  keystore,
  keys: () => keyLog.current(),
  decide: (action, context) => policy.decide(action, context),
  clock: systemClock,
  entropy: systemEntropy,
});

const runId = `run_${"e".repeat(20)}`;
const recorder = new RunRecorder({
  runId,
  tenantId: "embed",
  writer: new StreamWriter(store, "embed", runId, EMPTY_STREAM),
  clock: systemClock,
  epoch: null,
});
// The run's row comes with its first entry; steps belong to it.
await recorder.write(
  { event: "run.admitted", severity: "INFO", data: {}, envelopes: [], nonces: [], keyEpoch: null },
  {
    runId,
    tenantId: "embed",
    name: "embed",
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
    "greeting.send": ({ action }) => {
      console.log(`  effect: hello, ${action.resource}`);
      return Promise.resolve({
        status: "completed",
        output: { greeted: action.resource },
        artifacts: [],
        usage: { wall_ms: 0, output_bytes: 0 },
      });
    },
  },
});

const action: Action = { type: "greeting.send", resource: "world", params: {} };
const context: ActionContext = {
  tenant_id: "embed",
  run_id: runId,
  step_id: "greet",
  attempt: 1,
  role: "greeter",
  mode: "sovereign",
  config_digest: GENESIS_HASH,
  policy_digest: policy.policyDigest,
};
const authorization = {
  role: await authority.issueRoleAssignment(action, context),
  binding: await authority.issueBinding(action, context),
};

try {
  const tries = [
    ["with a permission", { action, context, authorization }],
    ["with the same permission again", { action, context, authorization }],
    ["without a permission", { action, context, authorization: null }],
    [
      "another action",
      { action: { ...action, type: "model.delete" }, context, authorization: null },
    ],
  ] as const;
  for (const [name, request] of tries) {
    const outcome = await kernel.execute({ ...request, approvals: [] });
    console.log(`${name}: ${outcome.status}${"code" in outcome ? ` ${outcome.code}` : ""}`);
  }
} finally {
  await installation.close();
  rmSync(home, { recursive: true, force: true });
}
