import { readFileSync, type Stats, statSync, writeFileSync } from "node:fs";
import { sha256, SovereignError, utf8Encode } from "@sovereign/core";
import type { WorkOwner } from "../scram/index.ts";
import type { Mount } from "./types.ts";

/**
 * Ids outside that belong to nobody: above those of containers, below those that are negative for
 * some programs (systemd's table of user ids calls this range unused).
 */
const FIRST = 1_879_048_192;
const COUNT = 65_536;

/** The payload's user and group as it sees them itself. */
export const INSIDE = 1000;

/**
 * The user outside that a path has where we are root: one for each run, so that a path which gets
 * out of its sandbox is nobody, and not even the same nobody as another run's.
 */
export function pathUserOf({ tenant_id, run_id }: WorkOwner): number {
  const digest = sha256(utf8Encode(`${tenant_id}/${run_id}`));
  return FIRST + (((digest[0] ?? 0) << 8) | (digest[1] ?? 0));
}

/**
 * Whether a path must get a user of its own: we are root, and of the machine. The root of a user
 * namespace is somebody else outside already, and has no such ids to give.
 */
export function mustDropRoot(): boolean {
  if (process.getuid?.() !== 0) return false;
  return readFileSync("/proc/self/uid_map", "utf8")
    .split("\n")
    .some((line) => {
      const [inside = -1, , count = 0] = line.trim().split(/\s+/).map(Number);
      return inside >= 0 && inside <= FIRST && inside + count >= FIRST + COUNT;
    });
}

/**
 * Say who is who in the namespace of a bubblewrap that waits for it: root sets up, then becomes the
 * user that nobody is.
 */
export function mapUser(pid: number, user: number): void {
  const map = `0 0 1\n${INSIDE} ${user} 1\n`;
  writeFileSync(`/proc/${pid}/uid_map`, map);
  writeFileSync(`/proc/${pid}/gid_map`, map);
}

/**
 * All of it at once, so that one command of the user's is enough. We do not widen their files
 * ourselves, and a copy of installed libraries would be as large again.
 *
 * @throws ERR_SANDBOX_REQUEST for what a user that is nobody may not read
 */
export function checkReadable(mounts: readonly Mount[], user: number): void {
  const closed = mounts
    .filter(({ source, own }) => own !== true && !isReadable(statSync(source), user))
    .map(({ source }) => source);
  const outer = closed.filter((path) => !closed.some((other) => path.startsWith(`${other}/`)));
  if (outer.length === 0) return;
  const names = outer.join(" ");
  throw new SovereignError(
    "ERR_SANDBOX_REQUEST",
    `Where we are root, commands run as a user of their own, who may not read ${names} (made under a umask such as 077). Type: chmod -R o+rX ${names}`,
    { source: outer[0] ?? "" },
  );
}

/** Whether somebody who is neither its owner nor root may read it. */
export function isReadable(found: Stats, user: number | null): boolean {
  const wanted = found.isDirectory() ? 0o005 : 0o004;
  return found.uid === user || (found.mode & wanted) === wanted;
}
