import { constants, accessSync, realpathSync, statSync } from "node:fs";
import { basename, isAbsolute, join } from "node:path";
import { SovereignError } from "@sovereign/core";
import type { AgentProgram, InstalledAgent } from "./adapter.ts";
import { findProgram } from "./installed.ts";

export interface CommandPlaces {
  /** Agents whose programs are installed in a folder of ours. */
  readonly installed: readonly InstalledAgent[];
  readonly folder: string;
  /** The user's search path. */
  readonly path: string;
  /** The tree in which the agent works. */
  readonly root: string;
}

/** What a program of no package has as its version. */
const UNKNOWN = "unknown";
const MOUNTED = "/agent";
/** The sandbox has the system's programs and no others. */
const SYSTEM = ["/usr/", "/bin/", "/sbin/"];

/**
 * Find the program of a command. It is one of: an agent that is installed, by its name; a file of the
 * repository, by a path such as `./agent`; a program of the user's, by its name or its whole path. Only
 * that file is seen inside: what it needs besides has to be the system's or the repository's.
 *
 * @throws ERR_AGENT_MISSING, ERR_AGENT_VERSION
 */
export function findNamed(words: readonly string[], places: CommandPlaces): AgentProgram {
  const [name = "", ...rest] = words;
  const { installed, folder, path, root } = places;
  const known = installed.find((one) => one.name === name);
  if (known !== undefined) {
    return { ...findProgram(known, folder), command: [known.mountedAt, ...rest] };
  }
  if (name === "node") return { path: process.execPath, ...asItIs(words) };
  if (name.includes("/") && !isAbsolute(name)) {
    const found = fileAt(join(root, name));
    if (found?.startsWith(`${realpathSync(root)}/`) === true)
      return { path: found, ...asItIs(words) };
    throw missing(name, "a program of the repository, committed and executable");
  }
  const tried = isAbsolute(name) ? [name] : path.split(":").map((one) => join(one, name));
  const found =
    tried
      .filter(isAbsolute)
      .map(fileAt)
      .find((one) => one !== null) ?? null;
  if (found === null) throw missing(name, "a program in PATH");
  if (SYSTEM.some((one) => found.startsWith(one))) {
    return { path: found, ...asItIs([found, ...rest]) };
  }
  const mountedAt = `${MOUNTED}/${basename(found)}`;
  return { path: found, ...asItIs([mountedAt, ...rest]), mountedAt };
}

function asItIs(command: readonly string[]): Omit<AgentProgram, "path"> {
  return { version: UNKNOWN, beside: [], command, mountedAt: null };
}

/** @returns where a program really is; null for what is none */
function fileAt(path: string): string | null {
  try {
    accessSync(path, constants.X_OK);
    const real = realpathSync(path);
    return statSync(real).isFile() ? real : null;
  } catch {
    return null;
  }
}

function missing(name: string, expected: string): SovereignError {
  const found = JSON.stringify(name.slice(0, 100));
  const text = `Expected ${expected} as the first word of --command, found ${found}.`;
  return new SovereignError("ERR_AGENT_MISSING", text);
}
