import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { type Action, type ActionContext, digestOf, sha256Hex, utf8Encode } from "@sovereign/core";
import { Authority } from "../../src/authority/index.ts";
import {
  createKernel,
  type ExecuteRequest,
  type LedgerRecord,
  type Outcome,
  type Recorder,
  type RecordVerdict,
} from "../../src/kernel/index.ts";
import { type Clock, systemClock, systemEntropy, timestampOf } from "../../src/system/index.ts";
import { StreamWriter } from "../../src/ledger/index.ts";
import { type Installation, openInstallation } from "../../src/installation/installation.ts";
import { createModelRegistry, type ModelRegistry } from "../../src/pipeline/index.ts";
import { RunRecorder, readSteps } from "../../src/runs/index.ts";
import { parsePolicy, PolicyEngine } from "../../src/policy/index.ts";

// One process that uses what it is told to, as often as it is told to, all at once. Forked by a test.

/** What all of them try at the same moment. */
export type UseOrder =
  | {
      readonly kind: "execute";
      /** In the one stream of this run, by its own recorder, instead of a stream for each process. */
      readonly inRun?: string;
      readonly requests: readonly Omit<ExecuteRequest, "signal">[];
    }
  | { readonly kind: "promote"; readonly keys: readonly string[]; readonly content: string };

/** How each ended: `COMPLETED`, or the code of its refusal. */
export type UseAnswer = readonly string[];

export const MODEL = "m";
export const TENANT = "acme";
export const policy: PolicyEngine = new PolicyEngine(
  parsePolicy(
    utf8Encode(`
policy_id: once
schema_version: 1.0.0
operations: [model.promote]
approvals:
  - { operations: [model.promote], required: 2, roles: [release_manager, safety_officer] }
`),
    "policy.yaml",
  ),
);

export function authorityOf({ keystore, keyLog, clock }: Installation): Authority {
  return new Authority({
    keystore,
    keys: () => keyLog.current(),
    decide: (action: Action, context: ActionContext) => policy.decide(action, context),
    clock,
    entropy: systemEntropy,
  });
}

export function registryOf(home: string): ModelRegistry {
  const folder = join(home, "registry");
  return createModelRegistry({ folder, clock: systemClock, entropy: systemEntropy });
}

/** Uses in one process, each recorded in the stream of that process's own. */
export class Uses {
  readonly #installation: Installation;
  readonly #home: string;
  readonly #stream: string;

  constructor(installation: Installation, home: string, stream: string) {
    this.#installation = installation;
    this.#home = home;
    this.#stream = stream;
  }

  async all(order: UseOrder): Promise<UseAnswer> {
    if (order.kind === "execute") {
      const { inRun } = order;
      const execute = await this.#kernel(
        inRun === undefined ? this.#own() : openRun(this.#installation, inRun),
      );
      return Promise.all(order.requests.map(async (one) => codeOf(await execute(one))));
    }
    const registry = registryOf(this.#home);
    const bytes = utf8Encode(order.content);
    return Promise.all(
      order.keys.map(async (idempotencyKey) => {
        const what = { model: MODEL, runId: `run_${"p".repeat(20)}`, idempotencyKey };
        const asked = { ...what, digest: sha256Hex(bytes), bytes, expectedCurrent: null };
        return registry.promote(asked).then(
          (record) => digestOf(record),
          (error: unknown) => (error as { code: string }).code,
        );
      }),
    );
  }

  async #own(): Promise<Recorder> {
    const { clock, store } = this.#installation;
    const head = await store.streamHead(TENANT, this.#stream);
    return new OwnStream(new StreamWriter(store, TENANT, this.#stream, head), clock);
  }

  async #kernel(
    recorded: Promise<Recorder>,
  ): Promise<(request: ExecuteRequest) => Promise<Outcome>> {
    const { keyLog, clock } = this.#installation;
    const recorder = await recorded;
    const kernel = createKernel({
      scram: { preflight: () => ({ armed: true }) },
      policy,
      keys: { current: () => keyLog.current(), refresh: () => keyLog.refresh() },
      recorder,
      effects: {
        "model.promote": () => {
          appendFileSync(join(this.#home, "effects"), "x");
          const usage = { wall_ms: 1, output_bytes: 0 };
          return Promise.resolve({ status: "completed", output: {}, artifacts: [], usage });
        },
      },
      clock,
    });
    return (request) => kernel.execute(request);
  }
}

/** The run as a process opens it that goes on with it. All of them have the same fence. */
export async function openRun(installation: Installation, runId: string): Promise<RunRecorder> {
  const { clock, store } = installation;
  const { steps, head } = await readSteps(store, TENANT, runId);
  const writer = new StreamWriter(store, TENANT, runId, head);
  const recorder = new RunRecorder({ runId, tenantId: TENANT, writer, clock, epoch: 1 });
  recorder.takeOver(steps);
  return recorder;
}

/** A stream of its own, and no fence: nothing but the permission itself is in the way. */
class OwnStream implements Recorder {
  readonly #writer: StreamWriter;
  readonly #clock: Clock;

  constructor(writer: StreamWriter, clock: Clock) {
    this.#writer = writer;
    this.#clock = clock;
  }

  async record(runId: string, record: LedgerRecord): Promise<RecordVerdict> {
    const { event, severity, data, envelopes, nonces, keyEpoch } = record;
    const timestamp = timestampOf(this.#clock);
    const verdict = await this.#writer.append(
      { tenantId: TENANT, runId, timestamp, eventType: event, severity, data },
      { envelopes, nonces, ...(keyEpoch === null ? {} : { keyEpoch }) },
    );
    if (verdict.status === "refused") return verdict;
    return { status: "committed", index: verdict.firstIndex };
  }
}

function codeOf(outcome: Outcome): string {
  return outcome.status === "COMPLETED" ? outcome.status : `${outcome.status} ${outcome.code}`;
}

const [, script, home, stream] = process.argv;
if (script === import.meta.filename && home !== undefined && stream !== undefined) {
  const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  const uses = new Uses(installation, home, stream);
  process.on("message", (order: UseOrder) => {
    void uses.all(order).then((answer) => process.send?.(answer));
  });
  process.on("disconnect", () => void installation.close());
  process.send?.("ready");
}
