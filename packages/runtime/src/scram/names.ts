import { createHash } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Clock } from "../system/index.ts";

let last = 0n;

/** `SCRAM-` and the instant to the microsecond; two of one process are never the same. */
export function eventIdOf(clock: Clock): string {
  const now = clock.now();
  const micros = BigInt(Math.floor(clock.monotonicMs() * 1000) % 1000);
  let id = BigInt(now.toISOString().replaceAll(/\D/g, "")) * 1000n + micros;
  if (id <= last) id = last + 1n;
  last = id;
  return `SCRAM-${id}`;
}

/**
 * All names that its processes may have: where a link stands in the folder's place, that of the place
 * and that of where it leads.
 */
export function groupNamesOf(folder: string): string[] {
  const place = resolve(folder);
  const at = existsSync(dirname(place)) ? realpathSync(dirname(place)) : dirname(place);
  const here = nameOfPath(join(at, basename(place)));
  return existsSync(folder) ? [...new Set([here, groupNameOf(folder)])] : [here];
}

/** Names an installation's control groups and markers: 16 hex digits of its folder's real path. */
export function groupNameOf(folder: string): string {
  return nameOfPath(realpathSync(folder));
}

function nameOfPath(path: string): string {
  return createHash("sha256").update(path).digest("hex").slice(0, 16);
}
