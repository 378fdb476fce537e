import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import pg from "pg";
import { runTrustedTool, startTrustedTool } from "../process/index.ts";
import { kindAt, openOwnLog, ownsFile, putAside, readOwnFile } from "../system/index.ts";
import { findBinaries, type ServerBinaries } from "./binaries.ts";
import type { ConnectionTarget } from "./connection-target.ts";
import { socketFolder } from "./socket-folder.ts";
import { CONNECTION_NAME, isUsed } from "./server-users.ts";
import { withStartLock } from "./start-lock.ts";
import { hangUp } from "./hang-up.ts";

const READY_MS = 60_000;
const PID_FILE_BYTES_MAX = 4096;
const STOP_MS = 15_000;
const TOO_MANY_CONNECTIONS = "53300";
const START_ATTEMPTS = 6;
const SETTINGS = [
  "listen_addresses=",
  "unix_socket_permissions=0700",
  "shared_buffers=64MB",
  "max_connections=100",
  "synchronous_commit=on",
  "fsync=on",
  "full_page_writes=on",
  "logging_collector=off",
  "log_min_messages=warning",
];

/** Connection options, in words of ours: whoever installs the package has no types of the driver. */
interface OwnerConfig {
  readonly connectionString?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly database?: string;
  readonly application_name?: string;
}

/** The connection options of the server's owner, on its socket. */
export function ownerConfig(target: ConnectionTarget): OwnerConfig {
  if (target.kind === "url") return { connectionString: target.url };
  return {
    host: target.socket,
    port: 5432,
    user: "sovereign",
    database: "postgres",
    application_name: CONNECTION_NAME,
  };
}

/**
 * Start the embedded PostgreSQL of a data folder, or join the one that runs already.
 *
 * Safe to call from several processes at once; survives kill -9 of any of them and of the server.
 *
 * @param folder the data folder's `postgres/`
 * @throws ERR_POSTGRES_MISSING, ERR_POSTGRES_START, ERR_STORE_UNAVAILABLE
 */
export async function startEmbedded(folder: string): Promise<ConnectionTarget> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw startError(folder, cause instanceof Error ? cause.message : "cannot be made", cause);
  }
  const target = {
    kind: "embedded",
    socket: await socketFolder(folder, startError),
    data: join(folder, "data"),
  } as const;
  if (await answers(target)) return target;
  return withStartLock(join(folder, "start.lock"), async () => {
    if (await answers(target)) return target;
    const binaries = findBinaries(join(folder, "links"));
    if (!existsSync(join(target.data, "PG_VERSION"))) initialise(binaries, folder, target.data);
    await launchWithRetries(binaries, folder, target);
    return target;
  });
}

/**
 * After a kill -9 the dead server's children may hold its shared memory for a moment, and a zombie
 * its pid: the start is tried again before it is called failed.
 */
async function launchWithRetries(
  binaries: ServerBinaries,
  folder: string,
  target: ConnectionTarget & { kind: "embedded" },
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await clearStale(target);
    try {
      await launch(binaries, folder, target);
      return;
    } catch (error) {
      if (attempt === START_ATTEMPTS) throw error;
      await sleep(200 * attempt);
    }
  }
}

/**
 * Stop the server if nobody else uses it: its data stay, and the next start joins or starts anew.
 * @returns true when it was stopped
 */
export async function stopEmbedded(target: ConnectionTarget, folder: string): Promise<boolean> {
  if (target.kind !== "embedded") return false;
  return withStartLock(join(folder, "start.lock"), async () => {
    // A server that is told to stop while it recovers may never end: it gets time to answer first.
    const answering = await settles(target);
    if (answering === "full" || (answering && (await isUsed(ownerConfig(target))))) return false;
    const pid = postmasterPid(target.data);
    if (pid === null) return false;
    // SIGINT is PostgreSQL's fast shutdown: a checkpoint, and no recovery at the next start. SIGQUIT
    // ends it at once, as a crash would: the next start recovers, and nothing that is durable is lost.
    if (answering && (await ends(target, pid, "SIGINT"))) return true;
    return ends(target, pid, "SIGQUIT");
  });
}

/** Whether a server that may be starting or recovering answers within a while, or is full. */
async function settles(target: ConnectionTarget & { kind: "embedded" }): Promise<boolean | "full"> {
  for (let waited = 0; waited < STOP_MS; waited += 50) {
    const refusal = await refusalOf(target);
    if (refusal === null) return true;
    if (refusal === TOO_MANY_CONNECTIONS) return "full";
    if (postmasterPid(target.data) === null) return false;
    await sleep(50);
  }
  return false;
}

async function ends(
  target: ConnectionTarget & { kind: "embedded" },
  pid: number,
  signal: "SIGINT" | "SIGQUIT",
): Promise<boolean> {
  try {
    process.kill(pid, signal);
  } catch {
    return true;
  }
  for (let waited = 0; waited < STOP_MS; waited += 20) {
    if (!existsSync(join(target.data, "postmaster.pid"))) return true;
    await sleep(20);
  }
  return false;
}

async function answers(target: ConnectionTarget & { kind: "embedded" }): Promise<boolean> {
  return (await refusalOf(target)) === null;
}

/** Null when the server of this data folder answers, else the SQLSTATE or the system's code. */
async function refusalOf(target: ConnectionTarget & { kind: "embedded" }): Promise<string | null> {
  const client = new pg.Client({ ...ownerConfig(target), connectionTimeoutMillis: 5000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const found = await client.query<{ data_directory: string }>("show data_directory");
    return found.rows[0]?.data_directory === target.data ? null : "another";
  } catch (error) {
    return (error as { code?: string }).code ?? "unknown";
  } finally {
    await hangUp(client);
  }
}

/** What stands there and is no cluster that we can read may be one all the same. */
function requireNothing(data: string): void {
  const kind = kindAt(data);
  if (kind === null) return;
  try {
    if (kind === "folder" && readdirSync(data).length === 0) return;
  } catch (cause) {
    throw startError(data, `its rights keep us from it. Type: chmod 700 "${data}"`, cause);
  }
  const found = kind === "folder" ? "a folder without PG_VERSION" : `a ${kind}`;
  throw startError(data, `expected a cluster, found ${found}. Look into it, and move it away`);
}

/** Built beside its place and renamed: a half-made cluster is never taken for one. */
function initialise(binaries: ServerBinaries, folder: string, data: string): void {
  requireNothing(data);
  const partial = `${data}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const args = ["-D", partial, "-U", "sovereign", "-A", "trust", "-E", "UTF8"];
  const end = run(binaries, "initdb", [...args, "--locale=C", "-k", "--no-instructions"], folder);
  if (end.status !== 0) throw startError(data, `initdb failed: ${end.stderr.trim().slice(-500)}`);
  renameSync(partial, data);
}

function run(
  binaries: ServerBinaries,
  tool: "initdb",
  args: readonly string[],
  cwd: string,
): ReturnType<typeof runTrustedTool> {
  const [command = "", ...rest] = [...binaries.wrapper, binaries[tool], ...args];
  return runTrustedTool(tool, command, rest, { env: binaries.env, cwd });
}

async function launch(
  binaries: ServerBinaries,
  folder: string,
  target: ConnectionTarget & { kind: "embedded" },
): Promise<void> {
  const log = join(folder, "server.log");
  const logFd = openOwnLog(log);
  const settings = [...SETTINGS, `unix_socket_directories=${target.socket}`];
  const [command = "", ...rest] = [
    ...binaries.wrapper,
    binaries.postgres,
    "-D",
    target.data,
    ...settings.flatMap((setting) => ["-c", setting]),
  ];
  const child = startTrustedTool("postgres", command, rest, {
    env: binaries.env,
    cwd: folder,
    logFd,
  });
  closeSync(logFd);
  const ended: string[] = [];
  child.on("exit", (code) => ended.push(`ended with ${String(code)}`));
  child.on("error", (error) => ended.push(error.message));
  for (let waited = 0; waited < READY_MS; waited += 25) {
    if (await answers(target)) return;
    if (ended[0] !== undefined) throw startError(target.data, `${ended[0]}: ${tail(log)}`);
    await sleep(25);
  }
  throw startError(target.data, `did not answer in ${READY_MS} ms: ${tail(log)}`);
}

/**
 * A server that was killed leaves its pid file. PostgreSQL trusts a living pid in it, which after
 * a reboot may be anybody's: under the start lock we look whose it is. A server of ours that lives
 * but does not answer yet is given time to start, recover or end.
 */
async function clearStale(target: ConnectionTarget & { kind: "embedded" }): Promise<void> {
  for (let waited = 0; waited < READY_MS; waited += 50) {
    // PostgreSQL itself would wait for a pipe's other end.
    const file = join(target.data, "postmaster.pid");
    if (!ownsFile(file)) putAside(file);
    const pid = postmasterPid(target.data);
    if (pid === null) return;
    if (!isServerOf(pid, target.data)) {
      unlinkSync(file);
      return;
    }
    if (await answers(target)) return;
    await sleep(50);
  }
}

/**
 * Whether the server of a data folder lives, whatever name the folder had when it was started.
 * @param folder the data folder's `postgres/`
 */
export function embeddedLives(folder: string): boolean {
  const pid = postmasterPid(join(folder, "data"));
  return pid !== null && wordsOf(pid).some((word) => word.endsWith("postgres"));
}

function postmasterPid(data: string): number | null {
  try {
    const bytes = readOwnFile(join(data, "postmaster.pid"), PID_FILE_BYTES_MAX);
    const pid = Number((bytes ?? "").toString().split("\n")[0]);
    return Number.isSafeInteger(pid) && pid > 1 ? pid : null;
  } catch {
    return null;
  }
}

function isServerOf(pid: number, data: string): boolean {
  const words = wordsOf(pid);
  return words.includes(data) && words.some((word) => word.endsWith("postgres"));
}

/** The command line of a process; empty where it is gone. */
function wordsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

function tail(log: string): string {
  try {
    return readFileSync(log, "utf8").trim().slice(-600);
  } catch {
    return "no log";
  }
}

function startError(path: string, found: string, cause?: unknown): SovereignError {
  return new SovereignError(
    "ERR_POSTGRES_START",
    `The embedded PostgreSQL at ${path} does not start: ${found}. Set DATABASE_URL to use another server.`,
    { path },
    cause,
  );
}
