import { open } from "node:fs/promises";

const LOCKS_FILE = "/proc/locks";
/** About 20,000 locks: whoever holds so many is among these. */
const BYTES_MAX = 1024 * 1024;
const CHUNK = 64 * 1024;

/**
 * How many record locks each process holds, by its pid. No limit of the kernel bounds them and no
 * control group counts them, and a death takes each apart.
 */
export async function fileLocksByPid(): Promise<ReadonlyMap<number, number>> {
  const counts = new Map<number, number>();
  let rest = "";
  const file = await open(LOCKS_FILE);
  try {
    const buffer = Buffer.alloc(CHUNK);
    for (let total = 0; total < BYTES_MAX; ) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK);
      if (bytesRead === 0) break;
      total += bytesRead;
      const lines = (rest + buffer.toString("latin1", 0, bytesRead)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) count(line, counts);
    }
  } finally {
    await file.close();
  }
  return counts;
}

/** `12: POSIX  ADVISORY  WRITE 4711 fe:00:123 0 EOF`; one that waits has `->` after its number. */
function count(line: string, counts: Map<number, number>): void {
  const pid = Number(/^\d+: (?:-> )?\w+ +\S+ +\S+ +(\d+) /.exec(line)?.[1] ?? Number.NaN);
  if (!Number.isNaN(pid)) counts.set(pid, (counts.get(pid) ?? 0) + 1);
}
