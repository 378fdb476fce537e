import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  watch,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Envelope,
  type ErrorCode,
  fields,
  formats,
  isSovereignError,
  type JsonValue,
  parseEnvelope,
  parseFormat,
  parseStrictJson,
  type ScramReason,
} from "@sovereign/core";
import { z } from "zod";
import { putAside, every } from "../system/index.ts";
import type { Slices } from "./slices.ts";

const BYTES_MAX = 64 * 1024;
/** A file that is being written gets this long to become whole. */
const WHOLE_MS = 100;
/** Beside the system's notification, which may be lost. */
const POLL_MS = 100;

const activation = z.strictObject({
  command: z.literal("SCRAM_ACTIVATE"),
  timestamp: z.string().max(64),
  pid: fields.count,
  reason: z.string().max(200),
  why: z.string().max(200).optional(),
});

/** What a signal file says. */
export type Signal =
  | { readonly kind: "order"; readonly envelope: Envelope }
  /** Whoever may write here may stop: it needs no key, and is recorded as without. */
  | { readonly kind: "activate"; readonly reason: ScramReason; readonly why?: string }
  /** The right owner wrote something else: in doubt, stop. */
  | { readonly kind: "unreadable"; readonly why: string }
  /** Not a plain file of ours: not obeyed, and recorded. */
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly why: string };

/**
 * Watch for the signal file: a trigger that needs neither a socket nor a start of Node.
 * @returns a function that stops watching
 */
export function watchSignalFile(
  folder: string,
  name: string,
  onSignal: (signal: Signal) => void,
): () => void {
  const path = join(folder, name);
  let busy = false;
  /** One that was obeyed and could not be removed. */
  let obeyed: string | null = null;
  const look = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      const signal = await readSignal(path);
      const stamp = stampOf(path);
      if (signal === null || stamp === obeyed) return;
      obeyed = stamp;
      // Latched first: a stop that is taken out of the folder is in force by then.
      onSignal(signal);
      putAway(path, signal);
    } catch {
      // It went away, or cannot be moved: the next look finds it again, or does not.
    } finally {
      busy = false;
    }
  };
  const watcher = watch(folder, (_, changed) => {
    if (changed === name || changed === null) void look();
  });
  watcher.on("error", () => undefined);
  const end = every(POLL_MS, () => void look());
  void look();
  return () => {
    watcher.close();
    end();
  };
}

/** Why a stop that carries no key is carried out, and what for. */
export function readingOf(signal: Extract<Signal, { kind: "activate" | "unreadable" }>): {
  why: string;
  reason: ScramReason;
} {
  const told = signal.why === undefined ? "" : `: ${signal.why}`;
  if (signal.kind === "activate") {
    return { why: `a signal file carries no key${told}`, reason: signal.reason };
  }
  return { why: `signal file${told}`, reason: "sentinel_trigger" };
}

function stampOf(path: string): string | null {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.ino} ${found.ctimeMs}`;
}

/** Take it out of the way, so that it is read once. What is not obeyed is kept for who looks into it. */
export function putAway(path: string, signal: Signal): void {
  if (signal.kind !== "refused") {
    rmSync(path, { force: true });
    return;
  }
  const kept = `${path}.refused`;
  putAside(kept);
  renameSync(path, kept);
}

/** What the file says as it is; null when there is none. Never throws. */
export function peekSignal(path: string): Signal | null {
  try {
    return readOnce(path);
  } catch (error) {
    return { kind: "unreadable", why: error instanceof Error ? error.message : "unknown" };
  }
}

/**
 * Read the file if there is one; a half-written one is given a moment to become whole.
 * @param turns where many are read, in whose turn it is read again
 */
export async function readSignal(path: string, turns?: Slices): Promise<Signal | null> {
  const first = readOnce(path);
  if (first?.kind !== "unreadable") return first;
  await sleep(WHOLE_MS);
  await turns?.next();
  return readOnce(path) ?? first;
}

function readOnce(path: string): Signal | null {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return null;
    const why = code === "ELOOP" ? "it is a symbolic link" : `it cannot be opened: ${String(code)}`;
    return refused(why);
  }
  try {
    const found = fstatSync(file);
    if (!found.isFile()) return refused("it is not a plain file");
    if (found.uid !== 0 && found.uid !== process.getuid?.())
      return refused(`it belongs to user ${found.uid}`);
    if ((found.mode & 0o022) !== 0) return refused("others may write it");
    if (found.size > BYTES_MAX) return { kind: "unreadable", why: `it has ${found.size} bytes` };
    const bytes = Buffer.alloc(BYTES_MAX);
    return parseSignal(bytes.subarray(0, readSync(file, bytes, 0, BYTES_MAX, 0)));
  } finally {
    closeSync(file);
  }
}

/** @param bytes untrusted, but from a file that only the owner may write */
export function parseSignal(bytes: Uint8Array): Signal {
  try {
    const value = parseStrictJson(bytes);
    if (isEnvelope(value)) return { kind: "order", envelope: parseEnvelope(value) };
    const { reason: said, why } = parseFormat(activation, value, "call");
    const reason = formats.scramReason.safeParse(said);
    return {
      kind: "activate",
      reason: reason.success ? reason.data : "sentinel_trigger",
      ...(why === undefined ? {} : { why }),
    };
  } catch (error) {
    const why = isSovereignError(error) ? error.message : "it cannot be read";
    return { kind: "unreadable", why: why.slice(0, 300) };
  }
}

/** By one field alone: what is wrong with the others is then said of the right kind. */
function isEnvelope(value: JsonValue): boolean {
  return typeof value === "object" && value !== null && "payloadType" in value;
}

function refused(why: string): Signal {
  return { kind: "refused", code: "ERR_SCRAM_ORDER_MALFORMED", why };
}
