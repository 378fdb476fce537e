import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** Processes anywhere whose command line holds the marker: an independent sweep. */
export function survivors(marker: string): string[] {
  return sweep("cmdline", marker);
}

/** Processes of sandboxes that see something of a folder, whatever they are called. */
export function survivorsIn(folder: string): string[] {
  return sweep("mountinfo", `/${basename(folder)}/`);
}

function sweep(file: "cmdline" | "mountinfo", marker: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/${file}`, "utf8").includes(marker);
    } catch {
      return false;
    }
  });
}
