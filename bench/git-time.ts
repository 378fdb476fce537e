import type { ChildProcess } from "node:child_process";
import { subscribe } from "node:diagnostics_channel";
import { basename } from "node:path";

interface GitProcess {
  readonly command: string;
  readonly from: number;
  to: number;
}

const seen: GitProcess[] = [];

/** From now on every git process of this one is noted: what it is, and from when until when it lives. */
export function watchGit(): void {
  subscribe("child_process", (message) => {
    const { process: child } = message as { process: ChildProcess };
    const from = performance.now();
    child.once("spawn", () => {
      // Behind the shell that puts it under its limits.
      const at = child.spawnargs.findIndex((word) => basename(word) === "git");
      const words = child.spawnargs.slice(at + 1);
      if (at < 0) return;
      const one: GitProcess = { command: commandOf(words), from, to: Number.POSITIVE_INFINITY };
      seen.push(one);
      child.once("close", () => {
        one.to = performance.now();
      });
    });
  });
}

/** Between two instants: the time in which any of them lived, in ms, and which commands began, in order. */
export function gitBetween(
  from: number,
  to: number,
): { readonly ms: number; readonly commands: readonly string[] } {
  const own = seen.filter((one) => one.from >= from && one.from < to);
  let ms = 0;
  let until = from;
  for (const one of own.toSorted((a, b) => a.from - b.from)) {
    const end = Math.min(one.to, to);
    ms += Math.max(0, end - Math.max(one.from, until));
    until = Math.max(until, end);
  }
  return { ms, commands: own.map(({ command }) => command) };
}

/** The first word that is no setting. */
function commandOf(words: readonly string[]): string {
  const at = words.findIndex((word, index) => word !== "-c" && words[index - 1] !== "-c");
  return words[at] ?? "";
}
