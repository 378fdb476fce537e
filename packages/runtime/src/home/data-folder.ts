import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { printable, SovereignError, fields, parseFormat } from "@sovereign/core";
import { refuseWorkTree } from "../authority/index.ts";
import { makeOwnFolder } from "../system/index.ts";

/** Where everything of an installation lies. */
export interface DataFolder {
  readonly root: string;
  readonly keys: string;
  readonly scram: string;
  readonly postgres: string;
  readonly ledger: string;
  readonly registry: string;
  /** The folders of all runs. */
  readonly runs: string;
  /** The folder of one run. */
  run(runId: string): string;
}

/**
 * `SOVEREIGN_HOME`, else `$XDG_DATA_HOME/sovereign`, else `~/.local/share/sovereign`.
 *
 * @param environment untrusted only in so far as the user's own environment is
 */
export function locateDataFolder(
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const { SOVEREIGN_HOME: home, XDG_DATA_HOME: xdg } = environment;
  if (home !== undefined && home !== "") return resolve(home);
  if (xdg !== undefined && xdg !== "") return resolve(xdg, "sovereign");
  return join(homeFolder(), ".local", "share", "sovereign");
}

function homeFolder(): string {
  let home: string;
  try {
    home = homedir();
  } catch (cause) {
    throw noHome("HOME is not set, and the system does not know this user", cause);
  }
  // It would be another data folder in each folder that a command is typed in.
  if (isAbsolute(home)) return home;
  throw noHome(`HOME is "${printable(home)}", which is no absolute path`);
}

function noHome(why: string, cause?: unknown): SovereignError {
  const text = `Expected a home folder for the data folder: ${why}. Set SOVEREIGN_HOME to a folder of yours.`;
  return new SovereignError("ERR_DATA_FOLDER", text, { root: "" }, cause);
}

/**
 * Make the data folder where it is missing, with mode 0700. Whatever stands in the place of the folders
 * that runs alone need is their concern: see {@link requireRunsFolder}.
 *
 * @throws ERR_KEYSTORE_IN_WORK_TREE before anything is made; ERR_DATA_FOLDER when it can not be
 */
export function openDataFolder(root: string): DataFolder {
  const folder = openSwitchFolder(root);
  makeUsable(folder.ledger, root);
  return folder;
}

/**
 * Make the folders that runs need, where they are missing. A reset of the kill switch needs none.
 * @throws ERR_DATA_FOLDER
 */
export function requireRunsFolder({ root, registry }: Pick<DataFolder, "root" | "registry">): void {
  for (const path of [registry, join(root, "runs")]) makeUsable(path, root);
}

/**
 * The same for the kill switch, which needs no other part of it: whatever stands in the place of
 * the others keeps nobody from a stop.
 */
export function openSwitchFolder(root: string): DataFolder {
  refuseWorkTree(root);
  makeUsable(root, root);
  return {
    root,
    keys: join(root, "keys"),
    scram: join(root, "scram"),
    postgres: join(root, "postgres"),
    ledger: join(root, "ledger"),
    registry: join(root, "registry"),
    runs: join(root, "runs"),
    run: (runId) => join(root, "runs", parseFormat(fields.runId, runId, "run")),
  };
}

function makeUsable(path: string, root: string): void {
  try {
    makeOwnFolder(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    const text = `Cannot use the data folder ${root}: ${why} Or set SOVEREIGN_HOME to a folder that you own.`;
    throw new SovereignError("ERR_DATA_FOLDER", text, { root }, cause);
  }
}

/** Where the operator keeps the policy of a tenant. */
export function tenantPolicyFile(home: string, tenantId: string): string {
  return join(home, "policies", `${tenantId}.yaml`);
}
