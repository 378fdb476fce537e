import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";

/**
 * The files that some process may still write to, because it has them open or mapped, as far as we
 * may look: `DEVICE:INODE` of each.
 *
 * @param wanted which names are looked at: the last of a file's path
 */
export function openForWriting(wanted: (name: string) => boolean): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) addOpen(pid, fd, wanted, found);
      addMapped(pid, wanted, found);
    } catch {
      // It ended meanwhile, or it is another user's.
    }
  }
  return found;
}

function addOpen(
  pid: string,
  fd: string,
  wanted: (name: string) => boolean,
  found: Set<string>,
): void {
  const link = `/proc/${pid}/fd/${fd}`;
  let name: string;
  try {
    name = basename(readlinkSync(link));
  } catch {
    return;
  }
  if (!wanted(name)) return;
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1];
  // The last two bits: 0 is for reading alone.
  if ((Number.parseInt(flags ?? "1", 8) & 3) === 0) return;
  const { dev, ino } = statSync(link);
  found.add(`${dev}:${ino}`);
}

/** `begin-end rw-s offset device inode path`: shared and writable. */
function addMapped(pid: string, wanted: (name: string) => boolean, found: Set<string>): void {
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [range = "", way = "", , , , path = ""] = line.split(/ +/, 6);
    if (!/^.w.s$/.test(way) || !wanted(basename(path))) continue;
    const { dev, ino } = statSync(`/proc/${pid}/map_files/${range}`);
    found.add(`${dev}:${ino}`);
  }
}
