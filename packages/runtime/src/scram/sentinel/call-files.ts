import { existsSync, readdirSync, renameSync, rmSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalize, type JsonObject } from "@sovereign/core";
import { every } from "./every.ts";
import { putAway, readSignal, type Signal } from "./signal-file.ts";
import { Slices } from "./slices.ts";

const READY = /^(call\.\d{1,20})\.ready$/;
const ANSWER = /^call\.\d{1,20}\.answer$/;
const TOLD = ["event", "refused"];
const WORDLESS: Signal = { kind: "unreadable", why: "a call without words" };
/** For so long calls are read before whoever else wants the processor has it. */
const SLICE_MS = 5;
/** Beside the system's notification, which may be lost. */
const POLL_MS = 100;

/**
 * Watch for calls, which is how `scram`, a shell script, is heard before it had to start a program,
 * and told how it ended. It writes `call.ID` with what a signal file says, and then makes
 * `call.ID.ready`, which says that the first is whole; a shell does both by itself, where a rename
 * takes a process, and on a busy machine each process waits for its turn. The answer is put into
 * `call.ID.answer`: an outcome in canonical JSON.
 *
 * @returns a function that stops watching
 */
export function watchCalls(
  folder: string,
  onCall: (signal: Signal) => Promise<JsonObject>,
): () => void {
  const taken = new Set<string>();
  const take = async (name: string): Promise<void> => {
    const path = join(folder, name);
    // In doubt, stop: who may write here made a call, whatever became of its words.
    const signal = (await readSignal(path, turns)) ?? WORDLESS;
    putAway(path, signal);
    rmSync(`${path}.ready`, { force: true });
    taken.delete(name);
    const outcome = await onCall(signal);
    if (signal.kind !== "order") await turns.next();
    answer(path, outcome);
  };
  const turns = new Slices(SLICE_MS);
  /** The last to come is read first: so one call among thousands is heard at once. */
  const waiting: string[] = [];
  let reading = false;
  const add = (name: string): void => {
    if (taken.has(name)) return;
    taken.add(name);
    waiting.push(name);
    if (!reading) void read();
  };
  const read = async (): Promise<void> => {
    reading = true;
    while (waiting.length > 0) {
      await turns.next();
      void take(waiting.pop() ?? "");
    }
    reading = false;
  };
  const look = (): void => {
    for (const name of namesIn(folder, READY)) add(name);
  };
  // Those whose caller did not wait for them.
  for (const name of namesIn(folder, ANSWER)) rmSync(join(folder, name), { force: true });
  const watcher = watch(folder, (_, changed) => {
    const name = changed === null ? undefined : READY.exec(changed)?.[1];
    if (changed === null) look();
    // A folder of thousands is not listed again for each of them.
    else if (name !== undefined && existsSync(join(folder, changed))) add(name);
  });
  watcher.on("error", () => undefined);
  const end = every(POLL_MS, look);
  look();
  return () => {
    watcher.close();
    end();
  };
}

/** The files of that name, by what is in its first brackets, or whole. */
function namesIn(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder).flatMap((name) => {
      const found = pattern.exec(name);
      return found === null ? [] : [found[1] ?? name];
    });
  } catch {
    // Who watches over the folder itself notices when it is gone.
    return [];
  }
}

/** Whole or not at all: the caller takes it as soon as it is there. */
function answer(path: string, outcome: JsonObject): void {
  // Without the receipt: that of a thousand paths is more than a shell should read.
  const told = Object.fromEntries(Object.entries(outcome).filter(([name]) => TOLD.includes(name)));
  try {
    writeFileSync(`${path}.new`, `${canonicalize(told)}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, `${path}.answer`);
  } catch {
    // The caller says that it was not told; what was done is done, and recorded elsewhere.
  }
}
