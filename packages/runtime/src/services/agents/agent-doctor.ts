import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type EntryData, isSovereignError, type JsonValue, SovereignError } from "@sovereign/core";
import { VendorStore } from "../../agents/index.ts";
import {
  type AgentAdapter,
  type AgentProgram,
  ADAPTERS,
  findProgram,
  installCommand,
} from "../../coding/index.ts";
import { passphraseOf, type Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { probeSandbox } from "../../sandbox/index.ts";
import type { Opened } from "../opened.ts";
import type { AgentDoctorRow, HookProof, ModelReach } from "./agent-reports.ts";
import { agentsFolder } from "./agents-folder.ts";

const CONNECT_MS = 3000;
const RUNS_LOOKED_AT = 20;

/** What an agent needs before it can work here. Nothing is asked of a model, so it costs nothing. */
export async function examineAgents(
  { home, environment }: Settings,
  opened: Opened,
  tenantId: string,
): Promise<AgentDoctorRow[]> {
  const folder = agentsFolder(environment);
  const sandbox = (await probeSandbox()).level;
  const vendors = existsSync(home)
    ? new VendorStore(join(home, "models"), passphraseOf(environment))
    : null;
  const models = await Promise.all((vendors?.list() ?? []).map((one) => reach(one)));
  const rows = ADAPTERS.map(async (adapter) => {
    const { found, ...about } = examine(adapter, folder);
    const hooks = found === null ? null : await proofOf(home, opened, tenantId, adapter, found);
    const ready = found !== null && sandbox !== null && models.some((one) => one.reachable);
    return { agent: adapter.name, ready, ...about, hooks, sandbox, models };
  });
  return Promise.all(rows);
}

function examine(
  adapter: AgentAdapter,
  folder: string,
): Pick<AgentDoctorRow, "state" | "version" | "tested" | "path" | "next"> & {
  readonly found: AgentProgram | null;
} {
  const tested = `${adapter.versions.from} to ${adapter.versions.to}`;
  try {
    const found = findProgram(adapter, folder);
    return { found, state: "found", ...found, tested, next: null };
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
  { version }: AgentProgram,
): Promise<HookProof | null> {
  if (!existsSync(home)) return null;
  try {
    return await opened(async (installation) => {
      const wanted = { limit: RUNS_LOOKED_AT, status: null, kind: "agent" };
      for (const { runId } of await installation.store.listRuns(tenantId, wanted)) {
        const at = await completedAt(installation, tenantId, runId, adapter.name, version);
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
