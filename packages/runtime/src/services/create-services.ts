import { repairRegistry } from "./runs/repair-registry.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isSovereignError, SovereignError } from "@sovereign/core";
import type { Services } from "./services.ts";
import { type Environment, Settings } from "../home/index.ts";
import {
  type Installation,
  issueTenantClaim,
  openInstallation,
  repairInstallation,
} from "../installation/index.ts";
import { systemClock } from "../system/index.ts";
import { nodeServices } from "./node-services.ts";
import { execServices } from "./exec/exec-services.ts";
import { withinReach } from "./host-tools.ts";
import { refuseWhileTripped } from "./runs/require-armed.ts";
import { agentServices } from "./agents/agent-services.ts";
import { goalServices } from "./goals/goal-services.ts";
import { workerServices } from "./workers/worker-services.ts";
import { breakerServices } from "./breaker-services.ts";
import { budgetServices } from "./budgets/budget-services.ts";
import { incidentServices } from "./incidents/incident-services.ts";
import { archiveServices } from "./archive/archive-services.ts";
import { backupServices } from "./backup/backup-services.ts";
import { batchServices } from "./batch/batch-services.ts";
import { createScramServices } from "./scram/scram-services.ts";
import { runServices } from "./runs/run-services.ts";
import { checkTenant } from "../runs/index.ts";
import { modelServices } from "./model-services.ts";
import { secretServices } from "./secret-services.ts";
import { skillServices } from "./skill-services.ts";
import { keyServices } from "./key-services.ts";
import { initServices } from "./init/init-services.ts";
import { checkToken } from "./serve/check-token.ts";
import { openApiServices } from "./serve/api-services.ts";
import { tokenServices } from "./token-services.ts";
import { policyServices } from "./policy-services.ts";
import { evidenceServices } from "./evidence-services.ts";
import { uninstallServices } from "./uninstall/uninstall.ts";
import { stateServices } from "./state-services.ts";
import { whileWaiting } from "./while-waiting.ts";

const VERSION = "0.1.0";

/**
 * The services over the real parts, configured from the environment.
 * @param onOpen told where the data are, each time an installation is opened
 * @param onWait told, every few seconds, what an installation that is being opened waits for
 */
export function createServices(
  environment: Environment,
  onOpen: (installation: Installation) => void = () => undefined,
  onWait: (text: string) => void = () => undefined,
): Services {
  const settings = new Settings(environment);
  const { home } = settings;
  const opened = <T>(work: (installation: Installation) => Promise<T>): Promise<T> =>
    withInstallation(settings, onWait, (installation) => {
      onOpen(installation);
      return work(installation);
    });
  const scram = createScramServices(home, environment, () => settings.passphrase, opened);
  const services: Services = {
    version: VERSION,
    home,
    display: settings,
    settings: () => settings.list(),
    refuseWhileTripped: (tenantId, runId) => {
      refuseWhileTripped(home, tenantId, runId);
    },
    ...runServices(settings, opened),
    ...goalServices(settings, opened),
    ...incidentServices(opened),
    ...budgetServices(opened),
    ...workerServices(opened),
    ...breakerServices(opened),
    ...keyServices(opened),
    ...tokenServices(opened),
    checkToken: (file) => checkToken(settings, opened, file),
    openServer: (onEvent, carries) =>
      withinReach(home, openApiServices(settings, opened, onEvent, carries)),
    ...policyServices(home, opened),
    ...initServices(home),
    ...modelServices(settings),
    ...secretServices(settings),
    ...skillServices(settings),
    ...execServices(settings, opened),
    ...agentServices(settings, opened),
    ...evidenceServices(opened),
    ...scram,
    ...batchServices(settings, opened, scram),
    ...nodeServices(home, opened, scram),
    tenantClaim: (tenantId, replace) =>
      opened(async ({ store }) => {
        checkTenant(tenantId);
        const claim = await issueTenantClaim(store, systemClock, tenantId, replace);
        return { tenant_id: tenantId, ...claim };
      }),
    repairLedger: (acceptRollback) =>
      repairInstallation(home, settings.databaseUrl, acceptRollback),
    repairRegistry: (tenantId) => opened((installation) => repairRegistry(installation, tenantId)),
    ...stateServices(home, environment, opened, scram),
    ...backupServices(settings, VERSION, opened),
    ...archiveServices(settings, VERSION, opened),
    ...uninstallServices(settings, scram),
  };
  return withinReach(home, services);
}

async function withInstallation<T>(
  settings: Settings,
  onWait: (text: string) => void,
  work: (installation: Installation) => Promise<T>,
): Promise<T> {
  const { home, environment } = settings;
  try {
    const { databaseUrl } = settings;
    const installation = await whileWaiting(
      () => waitingFor(home, databaseUrl),
      onWait,
      () =>
        openInstallation({
          home,
          config: settings.config,
          databaseUrl,
          passphrase: settings.passphrase,
          environment,
        }),
    );
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

/** For people who wait: the first time a database is made, later it is started, or it recovers. */
function waitingFor(home: string, databaseUrl: string | null): string {
  if (databaseUrl !== null) return "connecting to the database";
  const folder = join(home, "postgres");
  const made = existsSync(join(folder, "data", "PG_VERSION"));
  return made ? "starting the database" : `making the database in ${folder}, once`;
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
  const forbidden = code === "EACCES" || code === "EPERM";
  const mend = forbidden ? `type: chmod -R u+rwX "${home}"` : "make room or set SOVEREIGN_HOME";
  const text = `The data folder ${home} cannot be written: ${message}. What was acknowledged is safe; ${mend}, then resume the run or try again.`;
  return new SovereignError("ERR_DATA_FOLDER", text, { home, code }, error);
}
