import { lstatSync, readdirSync, readlinkSync, realpathSync, rmdirSync, rmSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { quoted, SovereignError } from "@sovereign/core";
import { refuseWorkTree } from "../../authority/index.ts";
import { DATA_PARTS, knownInstallation, type Settings } from "../../home/index.ts";
import { embeddedLives, removeSocketFolder, socketFolderOf } from "../../store/index.ts";
import { kindAt } from "../../system/index.ts";
import { agentsFolder } from "../agents/agents-folder.ts";
import type { Services } from "../services.ts";

/** Something that the installation has, and where it is. */
interface UninstallPart {
  readonly what: string;
  readonly path: string;
  /** Where a link leads. What is there stays. */
  readonly leadsTo: string | null;
}

export interface UninstallReport {
  readonly home: string;
  readonly installation: string;
  readonly removed: boolean;
  /** What --yes removes, or removed. */
  readonly parts: readonly UninstallPart[];
  readonly stays: readonly UninstallPart[];
  /** Why it cannot be removed now; null where it can. */
  readonly blocked: string | null;
}

const RESET = "sovereign scram reset --operator-key NAME --architect-key NAME --reason TEXT";

/** Takes an installation away from this machine, or says what that would take. */
export function uninstallServices(
  settings: Settings,
  services: Pick<Services, "scramStatus">,
): Pick<Services, "uninstall"> {
  const { home } = settings;
  return {
    uninstall: async (yes) => {
      const installation = requireDataFolder(home);
      const parts = partsOf(home);
      const stays = staysOf(settings, parts);
      const found = await obstacle(home, services);
      const report = { home, installation, parts, stays, blocked: found?.message ?? null };
      if (!yes) return { ...report, removed: false };
      if (found !== null) throw found;
      await remove(home, parts);
      return { ...report, removed: true };
    },
  };
}

/**
 * INVARIANT: nothing is removed of a folder that is not a data folder of this user.
 * @returns the installation's identifier
 * @throws ERR_UNINSTALL_REFUSED
 */
function requireDataFolder(home: string): string {
  requireOwnFolder(home);
  const real = realpathSync(home);
  for (const own of [homedir(), userInfo().homedir]) {
    if (holds(real, own)) throw refused(home, `a folder that holds the home folder ${own}`);
  }
  try {
    refuseWorkTree(home);
    return knownInstallation(home);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    throw refused(home, `a folder that cannot be told to be one: ${why}`, cause);
  }
}

function requireOwnFolder(home: string): void {
  const found = lstatSync(home, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() === true) {
    const target = quoted(readlinkSync(home));
    throw refused(home, `a link to ${target}. Set SOVEREIGN_HOME to the folder itself`);
  }
  if (found?.isDirectory() !== true) throw refused(home, found ? "no folder" : "nothing");
  if (found.uid !== (process.getuid?.() ?? found.uid)) throw refused(home, "another user's folder");
}

/** Whether a folder is another, or is above it. */
function holds(folder: string, other: string): boolean {
  if (folder === "/") return true;
  if (kindAt(other) === null) return false;
  return `${realpathSync(other)}/`.startsWith(`${folder}/`);
}

function refused(home: string, found: string, cause?: unknown): SovereignError {
  const text = `Expected the data folder of an installation at ${quoted(home)}, found ${found}. Nothing was removed. To see which folder is used, type: sovereign config get home`;
  return new SovereignError("ERR_UNINSTALL_REFUSED", text, { home }, cause);
}

function partsOf(home: string): UninstallPart[] {
  const names = readdirSync(home);
  const own = DATA_PARTS.flatMap(({ name, what }) =>
    names.filter((one) => isPart(one, name)).map((one) => partAt(join(home, one), what)),
  );
  const socket = socketFolderOf(join(home, "postgres"));
  return kindAt(socket) === null ? own : [...own, partAt(socket, "socket of the database")];
}

/** Itself, or what was put aside from its place. */
function isPart(name: string, part: string): boolean {
  return name === part || (name.startsWith(`${part}.aside-`) && /\.aside-\d+$/.test(name));
}

function partAt(path: string, what: string): UninstallPart {
  const leadsTo = kindAt(path) === "symbolic link" ? readlinkSync(path) : null;
  return { what, path, leadsTo };
}

/** What is not in the data folder, or not ours: it is named, and stays. */
function staysOf(settings: Settings, parts: readonly UninstallPart[]): UninstallPart[] {
  const { home, environment } = settings;
  const known = new Set(parts.map(({ path }) => path));
  const strange = readdirSync(home)
    .map((name) => join(home, name))
    .filter((path) => !known.has(path))
    .map((path) => partAt(path, "not of Sovereign"));
  const agents = agentsFolder(environment);
  const cache = kindAt(agents) === null ? [] : [partAt(agents, "cache: programs of agents")];
  const url = databaseOf(settings);
  const database =
    url === null ? [] : [{ what: "database that DATABASE_URL names", path: url, leadsTo: null }];
  return [...strange, ...cache, ...database];
}

/** Without its password; a configuration that cannot be read names none. */
function databaseOf(settings: Settings): string | null {
  try {
    const found = settings.list().find(({ name }) => name === "database.url")?.value;
    return typeof found === "string" ? found : null;
  } catch {
    return null;
  }
}

/** Why it cannot be removed now. A stop comes first: evidence of it must not be lost. */
async function obstacle(
  home: string,
  services: Pick<Services, "scramStatus">,
): Promise<SovereignError | null> {
  if (kindAt(join(home, "scram")) !== null) {
    const { state, trouble, sentinel, living = 0 } = await services.scramStatus();
    if (state !== "ARMED") {
      const why = trouble === null ? "" : ` (${trouble})`;
      const text = `A stop is in force: the kill switch is ${state}${why}. Nothing was removed. When it is safe, two people type: ${RESET}`;
      return new SovereignError("ERR_SCRAM_TRIPPED", text, { state });
    }
    if (sentinel !== null || living > 0) {
      const what = sentinel === null ? `${living} processes of it` : "its sentinel";
      return live(`${what} still live`);
    }
  }
  return embeddedLives(join(home, "postgres")) ? live("its database still runs") : null;
}

function live(why: string): SovereignError {
  const text = `Expected an installation at rest, but ${why}. Nothing was removed. Let runs end, or stop them; see them with: sovereign scram status. A sentinel ends by itself some seconds after the last run. Then type: sovereign uninstall --yes`;
  return new SovereignError("ERR_UNINSTALL_LIVE", text);
}

/** A link is removed, and never what it leads to. A data folder with other files in it stays. */
async function remove(home: string, parts: readonly UninstallPart[]): Promise<void> {
  try {
    for (const { path } of parts.filter((one) => one.path.startsWith(`${home}/`))) {
      rmSync(path, { recursive: true, force: true });
    }
    await removeSocketFolder(join(home, "postgres"));
    if (readdirSync(home).length === 0) rmdirSync(home);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    const text = `Cannot remove all of ${quoted(home)}: ${why}. A part of it is gone. Repair that and type it again: sovereign uninstall --yes`;
    throw new SovereignError("ERR_DATA_FOLDER", text, { home }, cause);
  }
}
