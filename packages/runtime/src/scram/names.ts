import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
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

/** Names an installation's control groups and markers: 16 hex digits of its folder's real path. */
export function groupNameOf(folder: string): string {
  return createHash("sha256").update(realpathSync(folder)).digest("hex").slice(0, 16);
}
