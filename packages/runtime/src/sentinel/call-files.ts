import { existsSync, readdirSync, renameSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { canonicalize, type JsonObject } from "@sovereign/core";
import { removeAt, replaceOwnFile, every } from "../system/index.ts";
import {
  ANSWER_SPARES,
  overwrite,
  waitingCalls,
  putAway,
  readSignal,
  type Signal,
  Slices,
} from "../scram/index.ts";

const READY = /^(call\.\d{1,20})\.ready$/;
const ANSWER = /^call\.\d{1,20}\.answer$/;
const TOLD = ["event", "refused"];
const WORDLESS: Signal = { kind: "unreadable", why: "a call without words" };
/** For so long calls are read before whoever else wants the processor has it. */
const SLICE_MS = 5;
/** How many calls are carried out before anybody is heard: the first one stops everything. */
const WAITING_MAX = 16;
/** Beside the system's notification, which may be lost. */
const POLL_MS = 100;

/**
 * Watch for calls, which is how `scram`, a shell script, is heard before it had to start a program,
 * and told how it ended. It writes `call.ID` with what a signal file says, and then makes
 * `call.ID.ready`, which says that the first is whole; a shell does both by itself, where a rename
 * takes a process, and on a busy machine each process waits for its turn. The answer is put into
 * `call.ID.answer`: an outcome in canonical JSON.
 *
 * @param fresh the answers that were just given
 * @returns a function that stops watching
 */
export function watchCalls(
  folder: string,
  onCall: (signal: Signal) => Promise<JsonObject>,
  fresh: readonly string[] = [],
): () => void {
  removeAnswers(folder, fresh);
  const taken = new Set<string>();
  const turns = new Slices(SLICE_MS);
  const take = async (name: string): Promise<void> => {
    // One that cannot be removed was obeyed once, and stays.
    if (await takeCall(folder, name, onCall, turns)) taken.delete(name);
  };
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
    for (const name of waitingCalls(folder)) add(name);
  };
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

/**
 * Carry out what was called for while no sentinel was here, before anybody is listened to.
 * @param signalName the signal file's
 * @returns the names of the answers
 */
export async function takeWaiting(
  folder: string,
  signalName: string,
  onCall: (signal: Signal) => Promise<JsonObject>,
): Promise<string[]> {
  removeAnswers(folder, []);
  const path = join(folder, signalName);
  const signal = await readSignal(path).catch(() => null);
  if (signal !== null) {
    const carried = onCall(signal);
    tryTo(() => {
      putAway(path, signal);
    });
    await carried;
  }
  const calls = waitingCalls(folder).slice(0, WAITING_MAX);
  await Promise.all(calls.map((name) => takeCall(folder, name, onCall)));
  return calls.map((name) => `${name}.answer`);
}

/** Those whose caller did not wait for them. */
function removeAnswers(folder: string, fresh: readonly string[]): void {
  for (const name of namesIn(folder, ANSWER)) {
    if (fresh.includes(name)) continue;
    tryTo(() => {
      removeAt(join(folder, name));
    });
  }
}

/** @returns whether it is out of the way */
async function takeCall(
  folder: string,
  name: string,
  onCall: (signal: Signal) => Promise<JsonObject>,
  turns?: Slices,
): Promise<boolean> {
  const path = join(folder, name);
  // In doubt, stop: who may write here made a call, whatever became of its words.
  const signal = (await readSignal(path, turns).catch(() => null)) ?? WORDLESS;
  // Latched first: a stop whose call is taken out of the folder is in force by then.
  const carried = onCall(signal);
  const removed = tryTo(() => {
    removeAt(`${path}.ready`);
    putAway(path, signal);
  });
  const outcome = await carried;
  if (signal.kind !== "order") await turns?.next();
  answer(path, outcome);
  return removed;
}

function tryTo(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}

function namesIn(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder).filter((name) => pattern.test(name));
  } catch {
    return [];
  }
}

/** Whole or not at all: the caller takes it as soon as it is there. */
function answer(path: string, outcome: JsonObject): void {
  // Without the receipt: that of a thousand paths is more than a shell should read.
  const told = Object.fromEntries(Object.entries(outcome).filter(([name]) => TOLD.includes(name)));
  const text = `${canonicalize(told)}\n`;
  const ways = [
    () => {
      replaceOwnFile(`${path}.answer`, text, false);
    },
    // On a full disk, into what was made in advance.
    ...ANSWER_SPARES.map((name) => () => {
      const spare = join(dirname(path), name);
      overwrite(spare, text);
      renameSync(spare, `${path}.answer`);
    }),
  ];
  // With no way left the caller says that it was not told; what was done is done.
  ways.some(tryTo);
}
