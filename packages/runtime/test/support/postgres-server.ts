import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { findBinaries, type ServerBinaries } from "../../src/store/binaries.ts";
import { copyPrepared } from "./prepared.ts";

/** A server of somebody else's, as a URL names one: over TCP, with a password. */
export interface PostgresServer {
  readonly port: number;
  readonly superuser: string;
  /** The URL of an ordinary role that owns one database. */
  readonly url: string;
  stop(): Promise<void>;
  /** As power that fails: it has no time to end anything. */
  kill(): Promise<void>;
  /** After its end, at the same port. */
  restart(): Promise<void>;
}

/** PgBouncer before a server. */
export interface Pooler {
  readonly url: string;
  stop(): Promise<void>;
  /** After its end, at the same port. */
  restart(): Promise<void>;
}

const SUPER_PASSWORD = "super secret";
export const PASSWORD = "quite-secret";

/** @param folder an empty folder, where the server's data go */
export async function startPostgres(folder: string): Promise<PostgresServer> {
  const data = join(folder, "data");
  await copyPrepared("server", data, async (made) => {
    const workshop = mkdtempSync(join(tmpdir(), "sov-server-"));
    initialise(made, workshop);
    const server = await serve(made, workshop);
    await query(server.superuser, `create role app login createrole password '${PASSWORD}'`);
    await query(server.superuser, "create database app owner app");
    await server.stop();
    rmSync(workshop, { recursive: true });
  });
  const served = await serve(data, folder);
  return { ...served, url: `postgres://app:${PASSWORD}@127.0.0.1:${served.port}/app` };
}

/** @param folder for what belongs to no cluster */
function initialise(data: string, folder: string): void {
  const binaries = findBinaries(join(folder, "links"));
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, SUPER_PASSWORD, { mode: 0o600 });
  const initial = ["-D", data, "-U", "root", "-A", "scram-sha-256", "--pwfile", passwordFile];
  runOnce(binaries, binaries.initdb, [...initial, "-E", "UTF8", "--no-sync"], folder);
}

async function serve(data: string, folder: string): Promise<Omit<PostgresServer, "url">> {
  const binaries = findBinaries(join(folder, "links"));
  const port = await freePort();
  const settings = [`port=${port}`, "listen_addresses=127.0.0.1", "unix_socket_directories="];
  const args = ["-D", data, ...settings.flatMap((setting) => ["-c", setting])];
  const password = encodeURIComponent(SUPER_PASSWORD);
  const superuser = `postgres://root:${password}@127.0.0.1:${port}/postgres`;
  let server: ChildProcess;
  const restart = async (): Promise<void> => {
    for (let attempt = 0; ; attempt++) {
      server = start(binaries.wrapper, binaries.postgres, args, binaries.env, folder);
      if (await answers(superuser, server)) return;
      // The backends of one that was killed take a moment to end, and keep its memory until then.
      if (attempt === 100) throw new Error(`no answer: ${logOf(folder)}`);
      await sleep(100);
    }
  };
  await restart();
  return {
    port,
    superuser,
    stop: () => stop(server, "SIGINT"),
    kill: () => stop(server, "SIGKILL"),
    restart,
  };
}

/**
 * PgBouncer in transaction mode before a server.
 *
 * @param users who may log in, each with the one password
 * @returns its URL and how to stop it
 * @throws with the command that installs it
 */
export async function startPooler(
  folder: string,
  server: PostgresServer,
  users: readonly string[] = ["app"],
): Promise<Pooler> {
  const program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].find(
    (path) => spawnSync(path, ["--version"]).status === 0,
  );
  if (program === undefined) throw new Error("type: sudo apt-get install pgbouncer");
  const port = await freePort();
  const known = users.map((user) => `"${user}" "${PASSWORD}"\n`).join("");
  writeFileSync(join(folder, "users.txt"), known, { mode: 0o600 });
  const lines = [
    "[databases]",
    `app = host=127.0.0.1 port=${server.port} dbname=app`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = scram-sha-256",
    `auth_file = ${join(folder, "users.txt")}`,
    "pool_mode = transaction",
    "default_pool_size = 3",
  ];
  writeFileSync(join(folder, "pgbouncer.ini"), `${lines.join("\n")}\n`);
  // It refuses root as PostgreSQL does, and is helped likewise.
  const { wrapper, env } = findBinaries(join(folder, "links"));
  const url = `postgres://app:${PASSWORD}@127.0.0.1:${port}/app`;
  let child: ChildProcess;
  const restart = async (): Promise<void> => {
    child = start(wrapper, program, ["-q", join(folder, "pgbouncer.ini")], env, folder);
    if (!(await answers(url, child))) throw new Error(`no answer: ${logOf(folder)}`);
  };
  await restart();
  return { url, stop: () => stop(child, "SIGTERM"), restart };
}

export async function query(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return await client.query(sql);
  } finally {
    await client.end();
  }
}

function runOnce(
  { wrapper, env }: ServerBinaries,
  command: string,
  args: readonly string[],
  cwd: string,
): void {
  const [program = "", ...rest] = [...wrapper, command, ...args];
  const end = spawnSync(program, rest, { env, cwd, encoding: "utf8" });
  if (end.status !== 0) throw new Error(`${command} failed: ${end.stderr}`);
}

function start(
  wrapper: readonly string[],
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  folder: string,
): ChildProcess {
  const log = openSync(join(folder, "log"), "a");
  const [program = "", ...rest] = [...wrapper, command, ...args];
  return spawn(program, rest, { env, cwd: folder, stdio: ["ignore", log, log] });
}

function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((ended) => {
    child.on("exit", () => {
      ended();
    });
    if (child.exitCode !== null || !child.kill(signal)) ended();
  });
}

/** @returns false where it ended, or nothing came for a minute */
async function answers(url: string, child: ChildProcess): Promise<boolean> {
  for (let waited = 0; waited < 60_000 && child.exitCode === null; waited += 50) {
    try {
      await query(url, "select 1");
      return true;
    } catch {
      await sleep(50);
    }
  }
  return false;
}

const logOf = (folder: string): string => readFileSync(join(folder, "log"), "utf8");

function freePort(): Promise<number> {
  return new Promise((found) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => {
        found(port);
      });
    });
  });
}
