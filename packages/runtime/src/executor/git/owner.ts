import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** Who holds something over its death: a pid alone says nothing once another process has it. */
interface Owner {
  readonly pid: string;
  readonly started: string;
  /** The pid namespace: a pid of another one cannot be looked up from here. */
  readonly space: string;
  readonly run: string;
}

/** Who works on a run here, in one line that {@link isOwnerDead} reads. */
export function ownerText(run: string): string {
  const pid = String(process.pid);
  return encode({ pid, started: startTimeOf(pid) ?? "", space: pidSpace(), run });
}

/** The same of nobody who lives: whoever comes next takes over what the run began. */
export function deadOwnerText(run: string): string {
  return encode({ pid: "0", started: "0", space: pidSpace(), run });
}

function encode({ pid, started, space, run }: Owner): string {
  return `${pid} ${started} ${space} ${run}`;
}

/** True where nothing of the process that wrote this line can live any more. */
export function isOwnerDead(found: string): boolean {
  const [pid = "", started = "", space = ""] = found.trim().split(" ");
  if (!/^\d+$/.test(pid)) return true;
  const [host, boot] = space.split("/");
  const [ownHost, ownBoot] = pidSpace().split("/");
  // The same machine since started again: nothing of then lives.
  if (host === ownHost && boot !== ownBoot) return true;
  return space === pidSpace() && startTimeOf(pid) !== started;
}

function pidSpace(): string {
  const host = hostname().replaceAll(/[\s/]/g, "_");
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${host}/${boot}/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return `${host}/unknown/unknown`;
  }
}

/** In clock ticks since boot; null when there is no such process. */
export function startTimeOf(pid: string): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command stands in parentheses and may hold anything; field 22 is counted after it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    // Without /proc only liveness can be told.
    try {
      process.kill(Number(pid), 0);
      return "unknown";
    } catch {
      return null;
    }
  }
}
