import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { KeyLog } from "../authority/index.ts";
import {
  kindAt,
  readOwnFile,
  newId,
  systemClock,
  systemEntropy,
  timestampOf,
  placeOwnFile,
} from "../system/index.ts";
import { KnownKeys, type SentinelKeys } from "../scram/index.ts";

export const INSTALLATION_FILE = "installation.json";
const BYTES_MAX = 64 * 1024;

const installationFile = z.strictObject({
  installation_id: fields.installationId,
  created_at: fields.timestamp,
  /** The root keys by which a node that joined knows the installation. */
  root_keys: z.array(fields.keyId).max(16).optional(),
});

const exportedInstallation = z.strictObject({
  format: z.literal("sovereign.installation"),
  schema_version: fields.schemaVersion,
  installation_id: fields.installationId,
  created_at: fields.timestamp,
  root_keys: z.array(fields.keyId).max(16),
});
type ExportedInstallation = z.infer<typeof exportedInstallation>;

/** What another machine needs to become a node of it. Public. */
export function exportInstallation(root: string, keyLog: KeyLog): ExportedInstallation {
  const { installation_id, created_at } = readInstallationFile(root);
  const first = rootOf(keyLog);
  return {
    format: "sovereign.installation",
    schema_version: "1.0.0",
    installation_id,
    created_at,
    root_keys: first === null ? [] : [first],
  };
}

/** @param value untrusted; @throws ERR_FORMAT_INVALID */
export function parseExport(value: unknown, file: string): ExportedInstallation {
  return parseFormat(exportedInstallation, value, file);
}

/**
 * Make a data folder that has been nothing yet a node of an installation.
 * @throws ERR_NODE_EXISTS
 */
export function joinInstallation(root: string, exported: ExportedInstallation): void {
  const { installation_id, created_at, root_keys } = exported;
  const path = join(root, INSTALLATION_FILE);
  try {
    const file = canonicalBytes({ installation_id, created_at, root_keys });
    if (placeOwnFile(path, file)) return;
  } catch (cause) {
    throw folderError(path, cause);
  }
  const { installation_id: other } = readInstallationFile(root);
  const text = `The data folder ${root} belongs to installation ${other} already. Join from an empty one: set SOVEREIGN_HOME.`;
  throw new SovereignError("ERR_NODE_EXISTS", text, { installation: other });
}

/**
 * Who joined by a file knows the root key from there, and not from the database.
 * @throws ERR_NODE_OTHER_INSTALLATION
 */
export function refuseOtherRoot(root: string, keyLog: KeyLog): void {
  const { installation_id, root_keys = [] } = readInstallationFile(root);
  const found = rootOf(keyLog);
  if (root_keys.length === 0 || (found !== null && root_keys.includes(found))) return;
  const text = `This data folder joined ${installation_id} with root key ${root_keys.join(", ")}; the database's key log begins with ${found ?? "none"}. It is another installation's database.`;
  throw new SovereignError("ERR_NODE_OTHER_INSTALLATION", text, { found });
}

function rootOf(keyLog: KeyLog): string | null {
  return keyLog.current().windows.find(({ introduced }) => introduced === 0)?.record.key_id ?? null;
}

/**
 * The installation's identifier, made where it is new. Where the file is gone, and the kill switch
 * still knows whose keys it obeys, the folder stays that installation's.
 *
 * @throws ERR_DATA_FOLDER
 */
export function installationIdOf(root: string): string {
  const path = join(root, INSTALLATION_FILE);
  if (kindAt(path) === null) {
    const made = { ...identityOf(root), created_at: timestampOf(systemClock) };
    try {
      // Another process may be quicker; then its id is the one.
      placeOwnFile(path, canonicalBytes(made));
    } catch (cause) {
      throw folderError(path, cause);
    }
  }
  return readInstallationFile(root).installation_id;
}

/**
 * The identifier of an installation that is there; none is made.
 * @throws ERR_DATA_FOLDER
 */
export function knownInstallation(root: string): string {
  return readInstallationFile(root).installation_id;
}

/**
 * For whom an order is: a stop does not wait until the installation's file is mended.
 * @throws ERR_DATA_FOLDER when neither the file nor the kill switch says it
 */
export function switchInstallationId(root: string): string {
  try {
    return installationIdOf(root);
  } catch (error) {
    const known = knownKeys(root);
    if (known === null) throw error;
    return known.installationId;
  }
}

function identityOf(root: string): { installation_id: string; root_keys?: string[] } {
  const known = knownKeys(root);
  if (known === null) return { installation_id: newId("ins_", systemEntropy) };
  const first = known.keys.windows.find(({ introduced }) => introduced === 0);
  const root_keys = first === undefined ? [] : [first.record.key_id];
  return { installation_id: known.installationId, root_keys };
}

/** What the kill switch last knew; its file verifies itself. */
function knownKeys(root: string): SentinelKeys | null {
  const folder = join(root, "scram");
  return kindAt(folder) === null ? null : new KnownKeys(folder).current();
}

function readInstallationFile(root: string): z.infer<typeof installationFile> {
  const path = join(root, INSTALLATION_FILE);
  try {
    const bytes = readOwnFile(path, BYTES_MAX);
    if (bytes === null) throw new Error("it is not there");
    return parseFormat(installationFile, parseStrictJson(bytes), path);
  } catch (cause) {
    throw folderError(path, cause);
  }
}

function folderError(path: string, cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unknown";
  const text = `Cannot use ${path}: ${why.replace(`${path}: `, "").replace(/\.$/, "")}. It says which installation this data folder is of. Move it away, and the next command makes it again from what the kill switch knows.`;
  return new SovereignError("ERR_DATA_FOLDER", text, { path }, cause);
}
