import { lstatSync, statSync } from "node:fs";
import { join } from "node:path";
import { Keystore } from "../authority/index.ts";
import { kindAt, ownsFile, systemClock, timestampOf } from "../system/index.ts";
import { KnownKeys } from "../scram/index.ts";

/** A folder may hold any number of strange files; a person reads the first ones. */
const WARNINGS_MAX = 20;

/**
 * What lies in the data folder and is not as it should be, in words for a person. It is looked at
 * and nothing more: nothing of it keeps a command from its work that does not need the very file.
 *
 * @param home the data folder; it is not made
 */
export async function dataWarnings(home: string): Promise<readonly string[]> {
  if (!isFolder(home)) {
    const kind = lstatSync(home, { throwIfNoEntry: false });
    return kind === undefined ? [] : [`${home} is no folder: set SOVEREIGN_HOME to one of yours.`];
  }
  const found = [
    ...fileWarnings(home),
    ...(await keyWarnings(join(home, "keys"), join(home, "scram"))),
  ];
  const more = found.length - WARNINGS_MAX;
  if (more <= 0) return found;
  return [...found.slice(0, WARNINGS_MAX), `and ${more} more in ${home}`];
}

/** What must be a plain file of ours, and what must be a folder, where it is there at all. */
const FILES = ["config.yaml", "installation.json", "node.json"];
const FOLDERS = ["keys", "scram", "postgres", "ledger", "registry", "runs"];

function fileWarnings(home: string): string[] {
  const files = FILES.map((name) => join(home, name)).filter(
    (path) => kindAt(path) !== null && !ownsFile(path),
  );
  const folders = FOLDERS.map((name) => join(home, name)).filter(
    (path) => kindAt(path) !== null && !isFolder(path),
  );
  return [
    ...files.map(
      (path) => `${path} is no plain file of ours but a ${String(kindAt(path))}: move it away.`,
    ),
    ...folders.map((path) => `${path} is no folder but a ${String(kindAt(path))}: move it away.`),
  ];
}

/** Or a link to one. */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

async function keyWarnings(keys: string, scram: string): Promise<string[]> {
  if (lstatSync(keys, { throwIfNoEntry: false }) === undefined) return [];
  const options = { folder: keys, passphrase: null, make: false };
  try {
    const unsafe = await Keystore.open(options).then(() => [], messageOf);
    const keystore = await Keystore.open({ ...options, lenient: true });
    const strays = (await keystore.strays()).map(({ why }) => why);
    return [...unsafe, ...strays, ...(await keysAgainstLog(keystore, keys, scram))];
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * A key of another installation signs nothing here; nor does one that was never enrolled. And without
 * the sentinel's key here, stops are not signed.
 */
async function keysAgainstLog(keystore: Keystore, keys: string, scram: string): Promise<string[]> {
  const known = lstatSync(scram, { throwIfNoEntry: false })
    ? new KnownKeys(scram).current()?.keys
    : undefined;
  if (known === undefined) return [];
  const records = await keystore.records();
  const here = new Set(records.map(({ key_id }) => key_id));
  const sentinels = known.valid("sentinel", null, known.count, timestampOf(systemClock));
  const make = sentinels.length === 0 ? "keys init" : "keys replace sentinel";
  const unsigned = sentinels.some(({ record }) => here.has(record.key_id))
    ? []
    : [
        `No sentinel key that is in force is here: receipts of stops are unsigned. Type: sovereign ${make}`,
      ];
  const strange = records
    .filter(({ key_id }) => known.get(key_id) === undefined)
    .map(
      ({ key_id, purpose, role }) =>
        `${keys} holds the ${purpose} key ${key_id.slice(0, 16)}${role === null ? "" : ` of ${role}`}, which is not enrolled in this installation: it signs nothing here.`,
    );
  return [...unsigned, ...strange];
}

function messageOf(error: unknown): string[] {
  return [error instanceof Error ? error.message : "The data folder cannot be looked at."];
}
