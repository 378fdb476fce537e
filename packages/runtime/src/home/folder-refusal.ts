import { join } from "node:path";
import { isSovereignError } from "@sovereign/core";
import { Keystore } from "../authority/index.ts";
import { kindAt } from "../system/index.ts";
import { loadConfig } from "./config.ts";
import { INSTALLATION_FILE, knownInstallation } from "./installation-file.ts";
import { readNodeFile } from "./node-file.ts";
import { refusalOf } from "./refusal-file.ts";

/**
 * Why no work begins by what lies in the data folder now, or by what was found when it was last
 * opened; null where nothing is known against it. Nothing is made or changed.
 */
export async function folderRefusal(home: string): Promise<string | null> {
  const looks: readonly (() => unknown)[] = [
    () => loadConfig(home),
    () => kindAt(join(home, INSTALLATION_FILE)) === null || knownInstallation(home),
    () => readNodeFile(home),
    () => openKeys(join(home, "keys")),
  ];
  const refused = refusalOf(home);
  if (refused !== null) return refused;
  for (const look of looks) {
    try {
      await look();
    } catch (error) {
      return isSovereignError(error) ? error.message : `${home} cannot be used`;
    }
  }
  return null;
}

async function openKeys(folder: string): Promise<void> {
  if (kindAt(folder) === null) return;
  const keystore = await Keystore.open({ folder, passphrase: null, make: false });
  await keystore.requireReadable();
}
