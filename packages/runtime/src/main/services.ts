import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  formats,
  GATE_DOCUMENTS,
  isSovereignError,
  type KeyRecord,
  type KeyTable,
  NAMED_PURPOSES,
  parseFormat,
  parseStrictJson,
  SovereignError,
  utf8Encode,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { INSTALLATION_KEYS, type KeySlot } from "../authority/index.ts";
import type { RunInput, Services } from "../cli/index.ts";
import { type Pipeline, parsePipeline } from "../pipeline/index.ts";
import {
  type AskedApproval,
  PolicyEngine,
  parsePolicy,
  proposePolicy,
  type Refused,
} from "../policy/index.ts";
import { ArtifactStore, exportBundle, locateDataFolder, openDataFolder } from "../runs/index.ts";
import { probeSandbox } from "../sandbox/index.ts";
import { ScramLatch } from "../scram/index.ts";
import { measureCapacity, measuredCapacity } from "./capacity.ts";
import { loadConfig } from "./config.ts";
import { dataWarnings } from "./data-warnings.ts";
import { approveRun, readRun } from "./approvals.ts";
import { type Installation, openInstallation } from "./installation.ts";
import { repairInstallation } from "./ledger-repair.ts";
import { nodeServices } from "./node-services.ts";
import { execServices } from "./exec-services.ts";
import { type Opened, reportOf } from "./run-report.ts";
import { isBatch, isExecution } from "./seal-run.ts";
import { resumeRequest } from "./run-request.ts";
import { refuseWhileTripped } from "./require-armed.ts";
import { resumePipeline, submitPipeline } from "./run-pipeline.ts";
import { batchServices } from "./batch-services.ts";
import { endBatch } from "./end-batch.ts";
import { passphraseOf } from "./passphrase.ts";
import { createScramServices } from "./scram-services.ts";

const VERSION = "0.1.0";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The command line's services over the real parts, configured from the environment.
 * @param onOpen told where the data are, each time an installation is opened
 */
export function createServices(
  environment: Environment,
  onOpen: (installation: Installation) => void = () => undefined,
): Services {
  const home = locateDataFolder(environment);
  const opened = <T>(work: (installation: Installation) => Promise<T>): Promise<T> =>
    withInstallation(home, environment, (installation) => {
      onOpen(installation);
      return work(installation);
    });
  const scram = createScramServices(home, environment, () => passphraseOf(environment), opened);
  return {
    version: VERSION,
    home,
    refuseWhileTripped: (tenantId, runId) => {
      refuseWhileTripped(home, tenantId, runId);
    },
    ...runServices(environment, opened),
    ...keyServices(opened),
    ...policyServices(opened),
    ...execServices(environment, opened),
    ...evidenceServices(opened),
    ...scram,
    ...batchServices(home, opened, scram),
    ...nodeServices(home, opened, scram),
    repairLedger: (acceptRollback) =>
      repairInstallation(home, databaseUrlOf(environment), acceptRollback),
    ...stateServices(home, environment, opened, scram),
  };
}

function databaseUrlOf(environment: Environment): string | null {
  return environment["DATABASE_URL"] || null;
}

async function withInstallation<T>(
  home: string,
  environment: Environment,
  work: (installation: Installation) => Promise<T>,
): Promise<T> {
  try {
    const installation = await openInstallation({
      home,
      databaseUrl: databaseUrlOf(environment),
      passphrase: passphraseOf(environment),
      environment,
    });
    try {
      return await work(installation);
    } catch (error) {
      throw describeCut(installation.cutOff(), error);
    } finally {
      installation.publishKeys();
      await installation.close();
    }
  } catch (error) {
    throw describeDiskFailure(home, error);
  }
}

/** What could not be recorded because the shared database is out of reach: the lease has ended, too. */
function describeCut(cut: unknown, error: unknown): unknown {
  if (!isSovereignError(error, "ERR_STORE_UNAVAILABLE") || cut === null) return error;
  const why = cut instanceof Error ? cut.message : "unknown";
  const text = `The shared database is out of reach, and so are the other machines' orders: ${why} What ran here was killed when the lease ended; what could be recorded was. Resume it when the database is back.`;
  return new SovereignError("ERR_SCRAM_LEASE", text, {}, error);
}

const DISK_FAILURES = new Set(["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE"]);

/** A disk that is full, read-only or broken is no surprise: it has a code, and a way on. */
function describeDiskFailure(home: string, error: unknown): unknown {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  if (error instanceof SovereignError || !DISK_FAILURES.has(code)) return error;
  const text = `The data folder ${home} cannot be written: ${message}. What was acknowledged is safe; make room or set SOVEREIGN_HOME, then resume the run or try again.`;
  return new SovereignError("ERR_DATA_FOLDER", text, { home, code }, error);
}

function runServices(
  environment: Environment,
  opened: Opened,
): Pick<Services, "run" | "resume" | "approve" | "listRuns"> {
  const allowCompatible = environment["SOVEREIGN_ALLOW_COMPATIBLE"] === "1";
  const submit = (
    installation: Installation,
    input: RunInput,
  ): RunInput & {
    installation: Installation;
    allowCompatible: boolean;
  } => ({ ...input, installation, allowCompatible });
  return {
    run: (file, input) =>
      opened(async (installation) => {
        const pipeline = parsePipeline(readNamed(file), file);
        await ensureKeys(installation, pipeline);
        const options = { ...submit(installation, input), pipeline: file };
        const { mode, faults } = input;
        return reportOf(await submitPipeline({ ...options, mode, faults }));
      }),
    resume: (runId, input) =>
      opened(async (installation) => {
        const options = submit(installation, input);
        const row = await installation.store.findRun(input.tenantId, runId);
        if (row !== null && isExecution(row)) {
          return reportOf(await resumeRequest({ ...options, waitMs: 0 }, runId));
        }
        if (row !== null && isBatch(row)) return reportOf(await endBatch(options, row));
        return reportOf(await resumePipeline(options, runId));
      }),
    approve: (tenantId, runId, role) =>
      opened((installation) => approveRun(installation, tenantId, runId, role)),
    listRuns: (tenantId) => opened((installation) => installation.store.listRuns(tenantId, 50)),
  };
}

async function ensureKeys(installation: Installation, pipeline: Pipeline): Promise<void> {
  const { keyLog, keystore } = installation;
  const roles = new Set<string>();
  for (const stage of pipeline.stages) {
    roles.add(stage.role);
    if (stage.type === "agent_chain") for (const agent of stage.agents) roles.add(agent.role);
  }
  await keyLog.ensure(keystore, [
    ...INSTALLATION_KEYS,
    ...[...roles].map((role): KeySlot => ({ purpose: "role", role })),
    ...pipeline.governance.approvals.roles.map((role): KeySlot => ({ purpose: "approval", role })),
  ]);
}

function keyServices(
  opened: Opened,
): Pick<
  Services,
  "initKeys" | "addKeys" | "listKeys" | "replaceKey" | "rotateKey" | "revokeKey" | "trustRoot"
> {
  return {
    initKeys: (slots) =>
      opened(({ keyLog, keystore }) =>
        keyLog.initialise(keystore, [...INSTALLATION_KEYS, ...slots]),
      ),
    addKeys: (slots, another) =>
      opened(async ({ keyLog, keystore }): Promise<KeyRecord[]> => {
        requireKeys(keyLog.head().count);
        return keyLog.introduceAll(keystore, slots, { another });
      }),
    listKeys: (): ReturnType<Services["listKeys"]> =>
      opened(({ keyLog }) => Promise.resolve(keyLog.current())),
    replaceKey: (slot, reason) =>
      opened(({ keyLog, keystore }) => {
        requireKeys(keyLog.head().count);
        return keyLog.replace(keystore, holderOf(slot, keyLog.current()), reason);
      }),
    rotateKey: (keyId, reason) =>
      opened(({ keyLog, keystore }) => keyLog.rotate(keystore, keyId, reason)),
    revokeKey: (keyId, reason, distrustAll) =>
      opened(({ keyLog, keystore }) => keyLog.revoke(keystore, keyId, reason, distrustAll)),
    trustRoot: () =>
      opened(({ keyLog }) => {
        requireKeys(keyLog.head().count);
        return Promise.resolve(keyLog.trustRoot());
      }),
  };
}

/** Where one person alone ever had such a key, it is theirs that is meant. */
function holderOf(slot: KeySlot, keys: KeyTable): KeySlot {
  const { purpose, role } = slot;
  if (role !== null || !NAMED_PURPOSES.includes(purpose)) return slot;
  const records = keys.windows.map(({ record }) => record).filter((one) => one.purpose === purpose);
  const [only, ...others] = new Set(records.map((one) => one.role));
  if (only !== undefined && others.length === 0) return { ...slot, role: only };
  const word = purpose === "approval" ? "approver" : purpose;
  const names = [only, ...others].filter((name) => name !== undefined).join(", ");
  const text = `Expected whose ${purpose} key to replace, such as ${word}:NAME. Enrolled: ${names || "nobody"}.`;
  throw new SovereignError("ERR_KEY_NAME", text);
}

function requireKeys(count: number): void {
  if (count > 0) return;
  const text = "This installation has no keys yet. Make them with: sovereign keys init";
  throw new SovereignError("ERR_KEYS_MISSING", text);
}

function policyServices(
  opened: Opened,
): Pick<Services, "checkPolicy" | "explainPolicy" | "learnPolicy"> {
  return {
    checkPolicy: (file) => Promise.resolve().then(() => parsePolicy(readNamed(file), file)),
    explainPolicy: (file, type, resource, role, params) =>
      Promise.resolve().then(() => {
        const policy = parsePolicy(readNamed(file), file);
        const value = { type, resource, params: parseStrictJson(utf8Encode(params)) };
        const action = parseFormat(formats.action, value, "--action, --resource, --params");
        return new PolicyEngine(policy).explain(action, {
          tenant_id: "default",
          run_id: `run_${"a".repeat(20)}`,
          step_id: "explain",
          attempt: 1,
          role,
          mode: "sovereign",
          config_digest: "0".repeat(64),
          policy_digest: policy.digest,
        });
      }),
    learnPolicy: (tenantId, runId) =>
      opened(async ({ store }) => {
        const refused: Refused[] = [];
        const asked: AskedApproval[] = [];
        for await (const { entry } of readRun(store, tenantId, runId)) {
          const { action, decision } = entry.data;
          const known = formats.action.safeParse(action);
          const decided = formats.policyDecision.safeParse(decision);
          if (!decided.success) continue;
          const { approvals, observed } = decided.data;
          if (known.success && approvals !== null) asked.push({ type: known.data.type, approvals });
          if (!known.success || !(observed || entry.event_type === "execution.denied")) continue;
          refused.push({ action: known.data, decision: decided.data });
        }
        return proposePolicy(`learned-${runId.slice(4, 12)}`, refused, asked);
      }),
  };
}

function evidenceServices(opened: Opened): Pick<Services, "exportBundle" | "exportAudit"> {
  return {
    exportBundle: (tenantId, runId, withArtifacts) =>
      opened((installation) => {
        const folder = installation.folder.run(runId);
        // The artifacts of an execution, and of a rollback, stand in its folder under the names that
        // the seed gives them.
        const own = existsSync(join(folder, GATE_DOCUMENTS.tape));
        const artifacts = new ArtifactStore(own ? folder : join(folder, "artifacts"));
        return exportBundle({
          ledger: installation.store,
          installationId: installation.id,
          tenantId,
          runId,
          readArtifact: withArtifacts ? (artifact) => artifacts.get(artifact) : null,
        });
      }),
    exportAudit: (log, write) =>
      opened(async ({ store }) => {
        let count = 0;
        for await (const { index, hash, bytes } of store.readLog(log)) {
          const entry = parseStrictJson(bytes);
          write(`${Buffer.from(canonicalBytes({ index, hash, entry })).toString("utf8")}\n`);
          count += 1;
        }
        return count;
      }),
  };
}

function stateServices(
  home: string,
  environment: Environment,
  opened: Opened,
  services: Pick<Services, "scramStatus">,
): Pick<Services, "status" | "probeSandbox" | "dataWarnings"> {
  return {
    dataWarnings: () => dataWarnings(home),
    status: () =>
      opened(async (installation) => ({
        home,
        database: installation.store.location,
        installation: installation.id,
        scram: (await services.scramStatus()).state,
      })),
    probeSandbox: async (measure, tell) => {
      const { minimum_level } = loadConfig(home).scram;
      const report = { ...(await probeSandbox()), minimum_level };
      if (report.level === null) return { ...report, capacity: null, unmeasured: null };
      const { scram } = openDataFolder(home);
      new ScramLatch(scram);
      const backends = ["bubblewrap", "container"] as const;
      const usable = backends.slice(0, report.container.level === null ? 1 : 2);
      if (!measure) return { ...report, capacity: measuredCapacity(scram), unmeasured: null };
      try {
        const capacity = await measureCapacity(scram, environment, usable, tell);
        return { ...report, capacity, unmeasured: null };
      } catch (error) {
        if (!isSovereignError(error)) throw error;
        return { ...report, capacity: measuredCapacity(scram), unmeasured: error.message };
      }
    },
  };
}
