import { readdirSync, readFileSync } from "node:fs";

/** Processes anywhere whose command line holds the marker: an independent sweep. */
export function survivors(marker: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(marker);
    } catch {
      return false;
    }
  });
}
