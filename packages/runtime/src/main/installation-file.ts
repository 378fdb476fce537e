import { existsSync, readFileSync, writeFileSync } from "node:fs";
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
import { newId, systemClock, systemEntropy, timestampOf } from "../kernel/index.ts";

const INSTALLATION_FILE = "installation.json";

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
    writeFileSync(path, file, { mode: 0o600, flag: "wx", flush: true });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw folderError(path, cause);
    const { installation_id: other } = readInstallationFile(root);
    const text = `The data folder ${root} belongs to installation ${other} already. Join from an empty one: set SOVEREIGN_HOME.`;
    throw new SovereignError("ERR_NODE_EXISTS", text, { installation: other }, cause);
  }
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

/** The installation's identifier, made where it is new. @throws ERR_DATA_FOLDER */
export function installationIdOf(root: string): string {
  const path = join(root, INSTALLATION_FILE);
  if (!existsSync(path)) {
    const installation_id = newId("ins_", systemEntropy);
    const made = { installation_id, created_at: timestampOf(systemClock) };
    try {
      writeFileSync(path, canonicalBytes(made), { mode: 0o600, flag: "wx", flush: true });
    } catch (cause) {
      // Another process may have been quicker; then its id is the one.
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw folderError(path, cause);
    }
  }
  return readInstallationFile(root).installation_id;
}

function readInstallationFile(root: string): z.infer<typeof installationFile> {
  const path = join(root, INSTALLATION_FILE);
  try {
    return parseFormat(installationFile, parseStrictJson(readFileSync(path)), path);
  } catch (cause) {
    throw folderError(path, cause);
  }
}

function folderError(path: string, cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unknown";
  return new SovereignError("ERR_DATA_FOLDER", `Cannot use ${path}: ${why}.`, { path }, cause);
}
