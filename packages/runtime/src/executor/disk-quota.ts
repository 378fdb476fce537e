import { accessSync, constants, lstatSync, readdirSync, type Stats } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { isSovereignError, SovereignError } from "@sovereign/core";
import { rest } from "../system/index.ts";

const MEBIBYTE = 1024 * 1024;
const WATCH_MS = 50;
/** The share of our own time that looking may take while nothing is suspicious: one part in so many. */
const PATIENCE = 20;
/** What must stay free on the disk: so much, or a twentieth of a small one. */
const FLOOR_BYTES = 1024 * MEBIBYTE;
const FLOOR_SHARE = 20;
const BLOCK = 512;
const SLICE = 500;

/**
 * Do something while folders are watched: more than `bytesMax` written into them ends it. Only what
 * lies in them counts, for others write to the same disk; that the disk itself runs out is
 * another matter, and not the fault of who happens to run. A folder that cannot be looked at any
 * more ends it as well.
 *
 * @param work ends when its signal says so, and not before all that writes is dead
 * @throws ERR_CHANGE_TOTAL for what was written there
 * @throws ERR_CHANGE_UNWATCHED where a folder is gone, is another one, or cannot be looked at
 * @throws ERR_DISK_LOW where the disk has no room left, whoever took it
 */
export async function watchWrites<T>(
  roots: readonly [string, ...string[]],
  bytesMax: number,
  work: (full: AbortSignal) => Promise<T>,
): Promise<T> {
  const watch = await WriteWatch.begin(roots, bytesMax);
  const ended = new AbortController();
  const watching = watch.until(ended.signal);
  const end = await work(watch.signal).finally(async () => {
    ended.abort();
    await watching;
  });
  // What came too late for a look, and a command that failed for want of room.
  if (watch.found === null) await watch.lookOnceMore();
  if (watch.found !== null) throw watch.found;
  return end;
}

class WriteWatch {
  found: SovereignError | null = null;
  readonly #stop = new AbortController();
  readonly #root: string;
  readonly #roots: readonly Root[];
  readonly #bytesMax: number;
  #before = 0;
  /** When the next look is due anyway: what is removed elsewhere hides what is written here. */
  #due = 0;
  /** The room at the last look. */
  #room = Infinity;

  private constructor(roots: readonly [string, ...string[]], bytesMax: number) {
    this.#root = roots[0];
    this.#roots = roots.map((path) => ({ path, identity: identityOf(path) }));
    this.#bytesMax = bytesMax;
  }

  /** @throws ERR_CHANGE_UNWATCHED, ERR_DISK_LOW before anything is begun */
  static async begin(roots: readonly [string, ...string[]], bytesMax: number): Promise<WriteWatch> {
    const watch = new WriteWatch(roots, bytesMax);
    const started = performance.now();
    watch.#before = await bytesIn(watch.#roots);
    watch.#due = dueAfter(performance.now() - started);
    await watch.#requireRoom();
    return watch;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Looks until then. Never rejects: a look that fails ends what is watched. */
  async until(ended: AbortSignal): Promise<void> {
    while (!ended.aborted && this.found === null) {
      await this.#attempt(() => this.#look());
      await rest(WATCH_MS, ended);
    }
  }

  /** When all that writes is dead. Never rejects: see `found`. */
  async lookOnceMore(): Promise<void> {
    await this.#attempt(async () => {
      await this.#measure();
      await this.#requireRoom();
    });
  }

  async #attempt(look: () => Promise<void>): Promise<void> {
    try {
      await look();
    } catch (error) {
      this.#end(isSovereignError(error) ? error : unwatched(this.#root, error));
    }
  }

  async #look(): Promise<void> {
    // Before the disk is asked: in the place of a folder that is gone another may stand.
    for (const root of this.#roots) requireSame(root);
    const { room, floor } = await roomOf(this.#root);
    if (room < floor) this.#end(low(this.#root, room, floor));
    // To ask the disk is cheap: the folder is looked at when somebody wrote much.
    const fell = this.#room - room > this.#bytesMax / 2;
    if (fell || performance.now() > this.#due) await this.#measure();
    if (fell || room > this.#room) this.#room = room;
  }

  async #measure(): Promise<void> {
    const started = performance.now();
    const written = (await bytesIn(this.#roots)) - this.#before;
    this.#due = dueAfter(performance.now() - started);
    if (written <= this.#bytesMax) return;
    const text = `The command wrote ${written} bytes altogether; at most ${this.#bytesMax} are taken.`;
    this.#end(new SovereignError("ERR_CHANGE_TOTAL", text, { written }));
  }

  /** @throws ERR_DISK_LOW */
  async #requireRoom(): Promise<void> {
    const { room, floor } = await roomOf(this.#root);
    this.#room = room;
    if (this.found === null && room < floor) throw low(this.#root, room, floor);
  }

  #end(found: SovereignError): void {
    this.found ??= found;
    this.#stop.abort();
  }
}

function dueAfter(lookMs: number): number {
  return performance.now() + PATIENCE * Math.max(WATCH_MS, lookMs);
}

async function roomOf(root: string): Promise<{ room: number; floor: number }> {
  const { bavail, bsize, blocks } = await statfs(root);
  return { room: bavail * bsize, floor: Math.min(FLOOR_BYTES, (blocks * bsize) / FLOOR_SHARE) };
}

function low(root: string, room: number, floor: number): SovereignError {
  return new SovereignError(
    "ERR_DISK_LOW",
    `The disk of ${root} has ${room} bytes left; no command runs with less than ${Math.round(floor)}. Make room, then resume the run.`,
    { room },
  );
}

/** A folder that is watched, and which one it is. */
interface Root {
  readonly path: string;
  readonly identity: string;
}

/** @throws ERR_CHANGE_UNWATCHED for what is no folder that can be read */
function identityOf(path: string): string {
  try {
    const found = lstatSync(path);
    if (!found.isDirectory()) throw new Error("it is no folder");
    accessSync(path, constants.R_OK | constants.X_OK);
    return `${found.dev} ${found.ino}`;
  } catch (cause) {
    throw unwatched(path, cause);
  }
}

function requireSame({ path, identity }: Root): void {
  if (identityOf(path) !== identity) throw unwatched(path, new Error("another folder is there"));
}

function unwatched(path: string, cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unknown";
  const text = `What the command writes can no longer be measured: ${path}: ${why}. Nothing of it is taken. Let nothing change that folder while a run works, then begin a new run.`;
  return new SovereignError("ERR_CHANGE_UNWATCHED", text, { path }, cause);
}

async function bytesIn(roots: readonly Root[]): Promise<number> {
  let total = 0;
  for (const root of roots) {
    requireSame(root);
    total += await bytesBelow(root.path);
  }
  return total;
}

/**
 * How much room the entries of a folder take, each file once; links are not followed. What cannot
 * be looked at counts nothing: what a command hides so is bounded by the floor.
 */
export async function bytesBelow(root: string): Promise<number> {
  const shared = new Set<number>();
  const folders = [root];
  let total = 0;
  let count = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const name of namesIn(folder)) {
      count += 1;
      if (count % SLICE === 0) await turn();
      const path = join(folder, name);
      const found = statOf(path);
      if (found === null) continue;
      if (found.isDirectory()) folders.push(path);
      else if (found.nlink > 1) {
        if (shared.has(found.ino)) continue;
        shared.add(found.ino);
      }
      total += Math.max(found.blocks, 1) * BLOCK;
    }
  }
  return total;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function statOf(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}
