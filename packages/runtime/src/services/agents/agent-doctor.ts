import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import {
  type EntryData,
  isSovereignError,
  type JsonValue,
  type ModelWire,
  SovereignError,
} from "@sovereign/core";
import { VendorStore } from "../../agents/index.ts";
import {
  type AgentAdapter,
  type AgentProgram,
  ADAPTERS,
  findProgram,
  INSTALLED,
  type InstalledAgent,
  installCommand,
} from "../../coding/index.ts";
import type { Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { probeSandbox } from "../../sandbox/index.ts";
import type { Opened } from "../opened.ts";
import type { AgentDoctorRow, HookProof, HookProofNow, ModelReach } from "./agent-reports.ts";
import { refuseWhileTripped } from "../runs/require-armed.ts";
import { proveHere } from "./prove-here.ts";
import { agentsFolder } from "./agents-folder.ts";

const CONNECT_MS = 3000;
const RUNS_LOOKED_AT = 20;

/**
 * What an agent needs before it can work here. Nothing is asked of a model, so it costs nothing.
 * @param prove start the canary of each installed agent
 * @throws ERR_SCRAM_TRIPPED where it is to be started and may not
 */
export async function examineAgents(
  settings: Settings,
  opened: Opened,
  tenantId: string,
  prove: boolean,
): Promise<AgentDoctorRow[]> {
  const { home, environment } = settings;
  const proveOne = prove ? proving(settings, opened, tenantId) : NO_PROOF;
  const folder = agentsFolder(environment);
  const sandbox = (await probeSandbox()).level;
  const vendors = existsSync(home)
    ? new VendorStore(join(home, "models"), settings.passphrase)
    : null;
  const reached = await Promise.all(
    (vendors?.list() ?? []).map(async (one) => ({ wires: one.wires, reach: await reach(one) })),
  );
  const rows: AgentDoctorRow[] = [];
  // One after the other: each is a large program.
  for (const adapter of ADAPTERS) {
    const known = INSTALLED.find((one) => one.name === adapter.name);
    const { found, ...about } = examined(known, folder);
    // A vendor that does not speak as the agent does is none for it.
    const models = reached.filter(({ wires }) => speaks(adapter, wires)).map((one) => one.reach);
    const hooks = await proofOf(home, opened, tenantId, adapter, found);
    const { name: agent, wire, hooks: proof } = adapter;
    const isHere = sandbox !== null && (found !== null || known === undefined);
    const proved = sandbox === null ? null : await proveOne(known, found);
    const ready = isHere && proved?.ok !== false && models.some((one) => one.reachable);
    rows.push({ agent, ready, ...about, hooks, proved, proof, sandbox, wire, models });
  }
  return rows;
}

type ProveOne = (
  known: InstalledAgent | undefined,
  found: AgentProgram | null,
) => Promise<HookProofNow | null>;

const NO_PROOF: ProveOne = () => Promise.resolve(null);

/** @throws ERR_SCRAM_TRIPPED */
function proving({ home }: Settings, opened: Opened, tenantId: string): ProveOne {
  refuseWhileTripped(home, tenantId, null);
  return (known, found) =>
    known === undefined || found === null
      ? Promise.resolve(null)
      : opened((installation) => proveHere(installation, tenantId, known, found));
}

function speaks(
  { wire, wireOf, defaultModel }: AgentAdapter,
  wires: readonly ModelWire[],
): boolean {
  const own = wireOf === undefined ? wire : wireOf(defaultModel);
  return wire === null || own === null || wires.includes(wire) || wires.includes(own);
}

type About = Pick<AgentDoctorRow, "state" | "version" | "tested" | "path" | "next"> & {
  readonly found: AgentProgram | null;
};

/** The user names the program, so that there is nothing to be found before. */
const NAMED: About = {
  found: null,
  state: "named",
  version: null,
  tested: null,
  path: null,
  next: null,
};

function examined(adapter: InstalledAgent | undefined, folder: string): About {
  if (adapter === undefined) return NAMED;
  const tested = `${adapter.packages.versions.from} to ${adapter.packages.versions.to}`;
  try {
    const found = findProgram(adapter, folder);
    const { path, version } = found;
    return { found, state: "found", path, version, tested, next: null };
  } catch (error) {
    if (!(error instanceof SovereignError)) throw error;
    const state = error.code === "ERR_AGENT_MISSING" ? "missing" : "untested";
    const told = error.details["version"];
    const version = typeof told === "string" ? told : null;
    return { found: null, state, version, tested, path: null, next: installCommand(adapter) };
  }
}

/** The last run whose agent step completed: the hook was proved in it, right before the work. */
async function proofOf(
  home: string,
  opened: Opened,
  tenantId: string,
  adapter: AgentAdapter,
  found: AgentProgram | null,
): Promise<HookProof | null> {
  if (found === null || !existsSync(home)) return null;
  const { version } = found;
  try {
    return await opened(async (installation) => {
      const wanted = { limit: RUNS_LOOKED_AT, status: null, kind: "agent" };
      for (const { runId } of await installation.store.listRuns(tenantId, wanted)) {
        const at = await completedAt(installation, tenantId, runId, adapter.name, version).catch(
          (error: unknown) => {
            // A run that is in an archive shows nothing; another may.
            if (isSovereignError(error, "ERR_ENTRY_ARCHIVED")) return null;
            throw error;
          },
        );
        if (at !== null) return { run: runId, at };
      }
      return null;
    });
  } catch (error) {
    // A database that is not there keeps nothing else from being told.
    if (isSovereignError(error)) return null;
    throw error;
  }
}

async function completedAt(
  { store }: Installation,
  tenantId: string,
  runId: string,
  agent: string,
  version: string,
): Promise<string | null> {
  for await (const { entry } of readRun(store, tenantId, runId)) {
    if (entry.event_type !== "execution.completed") continue;
    const { output } = entry.data as EntryData<"execution.completed">;
    if (fieldOf(output, "agent") === agent && fieldOf(output, "version") === version) {
      return entry.timestamp;
    }
  }
  return null;
}

function fieldOf(value: JsonValue, name: string): JsonValue | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? value[name] : undefined;
}

/** Whether anybody takes a connection where a vendor is: no key and no request is sent. */
function reach(vendor: { readonly name: string; readonly base_url: string }): Promise<ModelReach> {
  const { hostname, port, protocol } = new URL(vendor.base_url);
  const at = port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname.replace(/^\[(.*)\]$/, "$1"), port: at });
    const end = (reachable: boolean): void => {
      socket.destroy();
      resolve({ vendor: vendor.name, url: vendor.base_url, reachable });
    };
    socket.setTimeout(CONNECT_MS, () => {
      end(false);
    });
    socket.on("connect", () => {
      end(true);
    });
    socket.on("error", () => {
      end(false);
    });
  });
}
