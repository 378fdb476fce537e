import { lstatSync } from "node:fs";
import { join } from "node:path";
import { cutText, quoted, SovereignError, type ToolMount, type Toolset } from "@sovereign/core";
import type { PolicyTools } from "../../policy/index.ts";
import { isReadable } from "../path-user.ts";
import { type Contents, readContents } from "./contents.ts";
import type { Found, Wanted } from "./found.ts";
import { findGo, findJava, findNode, findPython, findRust } from "./languages.ts";
import {
  isWithin,
  judgeSource,
  judgeTarget,
  type Machine,
  placeOf,
  refusedSource,
} from "./places.ts";

const FINDERS: Readonly<Record<PolicyTools["presets"][number], (machine: Machine) => Found>> = {
  node: findNode,
  python: findPython,
  rust: findRust,
  go: findGo,
  java: findJava,
};
/** Each is one more thing for the kernel to take down when a path is killed. */
const MOUNTS_MAX = 128;

interface Judged {
  readonly by: string;
  readonly source: string;
  readonly at: string;
  readonly access: ToolMount["access"];
  readonly version: string | null;
  readonly digest: string | null;
  readonly anyName: boolean;
}

/**
 * Find what a policy asks for, and look at all of it: what commands will see is known, and written
 * down, before one runs.
 *
 * @param wanted of the policy; untrusted
 * @throws ERR_MOUNT_REFUSED
 */
export async function resolveTools(wanted: PolicyTools, machine: Machine): Promise<Toolset> {
  const found = wanted.presets.map((name) => ({ name, ...FINDERS[name](machine) }));
  const own = wanted.mounts.map((mount) => judgeOwn(mount, machine));
  // What the policy says itself comes before what a preset found for the same place.
  const taken = new Map(own.map((one) => [one.at, one]));
  if (taken.size < own.length) {
    throw new SovereignError("ERR_MOUNT_REFUSED", "Two mounts of the policy have the same place.");
  }
  const notes = found.flatMap((one) => one.notes);
  for (const { name, mounts } of found) {
    for (const one of mounts) {
      if (taken.has(one.at)) continue;
      try {
        taken.set(one.at, judgeFound(name, one, machine));
      } catch (error) {
        if (!(error instanceof SovereignError)) throw error;
        notes.push(cutText(`${name}: ${error.message}`, 500));
      }
    }
  }
  if (taken.size > MOUNTS_MAX) {
    const text = `The policy's tools come to ${taken.size} mounts; at most ${MOUNTS_MAX} are possible.`;
    throw new SovereignError("ERR_MOUNT_REFUSED", text);
  }
  return {
    mounts: await lookAt([...taken.values()], notes),
    path: [...new Set(found.flatMap((one) => one.path))],
    env: Object.fromEntries(found.flatMap((one) => Object.entries(one.env))),
    tree_at: found.some((one) => one.needsTree) ? (machine.tree?.root ?? null) : null,
    notes,
  };
}

function judgeOwn(mount: PolicyTools["mounts"][number], machine: Machine): Judged {
  const { path, relative } = placeOf(mount.path, machine);
  const root = machine.tree?.root ?? null;
  if (relative !== null && machine.tree?.isTracked(relative) === true) {
    throw refusedSource(mount.path, "git has it, so commands see it as the step has it");
  }
  const source = judgeSource(path, machine, relative === null ? null : root);
  const at = mount.at ?? (relative === null ? path : `/workspace/${relative}`);
  return {
    by: "mounts",
    source,
    at: judgeTarget(at),
    access: mount.copy ? "copy" : "read-only",
    version: null,
    digest: mount.digest ?? null,
    anyName: relative !== null,
  };
}

/** Where a preset looks is ours; what stands there is not, and is judged like any other. */
function judgeFound(by: string, wanted: Wanted, machine: Machine): Judged {
  const { path, at, version, isDependency, isSystem } = wanted;
  const from = isDependency === true ? (machine.tree?.root ?? null) : null;
  const source = isSystem === true ? plainSystem(path) : judgeSource(path, machine, from);
  return {
    ...{ by, source, at, version, access: "read-only", digest: null },
    anyName: isDependency === true,
  };
}

function plainSystem(path: string): string {
  if (!lstatSync(path).isSymbolicLink()) return path;
  throw refusedSource(path, "it is a link");
}

/** A place is looked at once, however often it is seen. */
async function lookAt(judged: readonly Judged[], notes: string[]): Promise<ToolMount[]> {
  const looks = new Map<string, Contents>();
  const mounts: ToolMount[] = [];
  for (const one of judged) {
    const { by, source, at, access, version } = one;
    try {
      const contents = looks.get(source) ?? (await lookAtOne(one));
      looks.set(source, contents);
      requireDigest(one, contents);
      mounts.push({ by, path: source, at, access, version, ...contents });
    } catch (error) {
      // What the policy names itself must be there; what a preset found is told.
      if (by === "mounts" || !(error instanceof SovereignError)) throw error;
      notes.push(cutText(`${by}: ${error.message}`, 500));
    }
  }
  return mounts;
}

function lookAtOne({ by, source, digest, anyName }: Judged): Promise<Contents> {
  if (by !== "mounts" && isClosed(source)) throw closed(source);
  return readContents(source, { demanded: digest !== null, anyName });
}

function requireDigest({ source, digest }: Judged, { sha256 }: Contents): void {
  if (digest === null || sha256 === digest) return;
  throw refusedSource(source, `expected the digest ${digest}, found ${sha256 ?? "none"}`);
}

/** Where we are root, commands run as a user of their own. */
function isClosed(source: string): boolean {
  return process.geteuid?.() === 0 && !isReadable(lstatSync(source), null);
}

function closed(source: string): SovereignError {
  const how = `others may not read it. Type: chmod -R o+rX ${source}`;
  return refusedSource(
    source,
    `where we are root, commands run as a user of their own, and ${how}`,
  );
}

/**
 * What was looked at when the run began must still be so.
 * @throws ERR_MOUNT_REFUSED
 */
export async function requireUnchanged({ mounts }: Toolset): Promise<void> {
  const looks = new Map<string, Contents>();
  for (const { path, listing, sha256 } of mounts) {
    const found =
      looks.get(path) ?? (await readContents(path, { demanded: sha256 !== null, anyName: true }));
    looks.set(path, found);
    if (found.listing === listing && found.sha256 === sha256) continue;
    const text = `${quoted(path)} is not what it was when the run began, and its steps rest on it. Start the request again.`;
    throw new SovereignError("ERR_MOUNT_REFUSED", text, { path });
  }
}

/** The mounts that lie in the run's own tree, as paths in it. */
export function inTree({
  mounts,
}: Toolset): { readonly path: string; readonly isFolder: boolean }[] {
  return mounts
    .filter(({ at }) => isWithin(at, "/workspace"))
    .map(({ at, path }) => ({
      path: at.slice("/workspace/".length),
      isFolder: lstatSync(path).isDirectory(),
    }));
}

/** The folder in which a run's copies are. */
export function copiesIn(folder: string): string {
  return join(folder, "copies");
}
