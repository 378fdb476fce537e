import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openInstallation } from "../packages/runtime/src/installation/installation.ts";
import { Store } from "../packages/runtime/src/store/index.ts";
import { type CliEnd, endOf } from "../test/e2e/cli.ts";

/** What a command of keys is killed in. */
export type KeysCommand = "init" | "add" | "replace" | "rotate" | "revoke";

/** What was found after one kill. */
export interface KeysKill {
  readonly command: KeysCommand;
  /** How far it had come: its key was in no ledger, in the ledger, or it had ended before. */
  readonly left: "nothing" | "a pending file" | "an enrolled key" | "all of it";
  /** What does not agree; empty where all does. */
  readonly wrong: readonly string[];
}

const CHANGES: readonly KeysCommand[] = ["add", "replace", "rotate", "revoke"];
const SHORT_MS = 40;
const LATER_MS = 11 * 60 * 1000;

/** A throw-away installation whose commands of keys are killed at random instants. */
export class KeysKillRig {
  readonly #folder = mkdtempSync(join(tmpdir(), "sov-keys-kill-"));
  readonly #template = join(this.#folder, "template");
  readonly #home = join(this.#folder, "home");
  #server: Store | null = null;
  #count = 0;
  #takesMs = 0;

  async open(): Promise<void> {
    // A database without keys, made once: each `keys init` gets a copy.
    await (await openStore(this.#template)).close();
    copy(this.#template, this.#home);
    // As long as this one is connected, no command starts or stops the server.
    this.#server = await openStore(this.#home);
    await this.#cli(this.#home, "init", "--role", "first");
    const began = performance.now();
    await this.#cli(this.#home, "add", "--role", "second");
    this.#takesMs = performance.now() - began;
  }

  async close(): Promise<void> {
    await this.#server?.close();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** Kill one command, look at what it left, and let the next one work. */
  async kill(command: KeysCommand): Promise<KeysKill> {
    return command === "init" ? this.#killInit() : this.#killChange(command);
  }

  async #killInit(): Promise<KeysKill> {
    const home = join(this.#folder, `init-${++this.#count}`);
    copy(this.#template, home);
    const server = await openStore(home);
    try {
      const left = await this.#killed(home, ["init", "--role", "first"], 0);
      const wrong = await disagreements(home);
      const next = await this.#cli(home, "init", "--role", "first");
      const refused = next.code === 2 && next.err.includes("ERR_KEYS_EXIST");
      if (next.code !== 0 && !refused) wrong.push(`the next init: ${next.err}`);
      if (refused !== (left === "an enrolled key" || left === "all of it"))
        wrong.push(`${left}, and the next init ended with ${String(next.code)}`);
      return { command: "init", left, wrong: [...wrong, ...(await disagreements(home))] };
    } finally {
      await server.close();
      await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
  }

  async #killChange(command: KeysCommand): Promise<KeysKill> {
    const { ids, count } = await enrolled(this.#home);
    const victim = ids.get("role:second") ?? "";
    const words: Record<KeysCommand, string[]> = {
      init: [],
      add: ["add", "--role", `more${++this.#count}`],
      replace: ["replace", "seal"],
      rotate: ["rotate", victim],
      revoke: ["revoke", victim, "--reason", "killed"],
    };
    const left = await this.#killed(this.#home, words[command], count);
    const wrong = await disagreements(this.#home);
    // Whoever repeats it, or goes on: the key that was to come is there, or can be made.
    const again = (await enrolled(this.#home)).ids.has("role:second")
      ? await this.#cli(this.#home, "replace", "role:second")
      : await this.#cli(this.#home, "add", "--role", "second");
    if (again.code !== 0) wrong.push(`the next command: ${again.err}`);
    return { command, left, wrong: [...wrong, ...(await disagreements(this.#home))] };
  }

  /** Half of the kills come at any instant; the others when a key file begins to stand there. */
  async #killed(home: string, words: readonly string[], before: number): Promise<KeysKill["left"]> {
    const known = namesIn(home).length;
    const child = start(home, ["keys", ...words]);
    const ended = endOf(child);
    if (randomInt(2) === 0) await sleep(randomInt(Math.ceil(this.#takesMs)));
    else {
      const until = performance.now() + 20 * this.#takesMs;
      while (child.exitCode === null && namesIn(home).length <= known) {
        if (performance.now() > until) break;
        await sleep(1);
      }
      await sleep(randomInt(SHORT_MS));
    }
    child.kill("SIGKILL");
    const { code } = await ended;
    if (code === 0) return "all of it";
    const pending = namesIn(home).some((name) => name.includes(".pending"));
    const { count } = await headOf(home);
    if (count > before) return "an enrolled key";
    return pending ? "a pending file" : "nothing";
  }

  #cli(home: string, ...words: string[]): Promise<CliEnd> {
    return endOf(start(home, ["keys", ...words]));
  }
}

/** Every command in turn. */
export function commandOf(trial: number): KeysCommand {
  return trial % 5 === 4 ? "init" : (CHANGES[trial % 5] as KeysCommand);
}

function start(home: string, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [resolve("packages/runtime/bin/sovereign.js"), ...args], {
    env: { PATH: process.env["PATH"], HOME: home, SOVEREIGN_HOME: home },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** With its modes, on which the server insists. */
function copy(from: string, to: string): void {
  execFileSync("cp", ["-a", from, to]);
}

function openStore(home: string): Promise<Store> {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const folder = join(home, "postgres");
  return Store.open({ folder, headsFolder: join(home, "ledger"), databaseUrl: null });
}

function namesIn(home: string): string[] {
  const folder = join(home, "keys");
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** The count of the key log, before anything settles what the kill left. */
async function headOf(home: string): Promise<{ count: number }> {
  const store = await openStore(home);
  try {
    return await store.streamHead("installation", "keys");
  } finally {
    await store.close();
  }
}

/** The keys that are in force, by purpose and name, and the count of the key log. */
async function enrolled(home: string): Promise<{ ids: Map<string, string>; count: number }> {
  const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  try {
    const ids = new Map<string, string>();
    for (const { record, ended } of installation.keyLog.current().windows) {
      if (ended === null) ids.set(`${record.purpose}:${record.role ?? ""}`, record.key_id);
    }
    return { ids, count: installation.keyLog.head().count };
  } finally {
    await installation.close();
  }
}

/** Ledger, folder and the kill switch's file of keys, as the next command that opens them finds them. */
async function disagreements(home: string): Promise<string[]> {
  const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  try {
    const { keyLog, keystore } = installation;
    const wrong: string[] = [];
    const known = keyLog.current();
    // What a command sees that comes when nobody can be on the way any more.
    await keystore.settle(
      (id) => known.get(id) !== undefined,
      installation.clock.now().getTime() + LATER_MS,
    );
    for (const { record } of known.windows) {
      const signer = await keystore.signer(record.key_id).catch((error: unknown) => String(error));
      if (typeof signer === "string") wrong.push(`an enrolled key has no file: ${signer}`);
    }
    for (const { key_id } of await keystore.records()) {
      if (known.get(key_id) === undefined) wrong.push(`the file of ${key_id} is not enrolled`);
    }
    const names = known.windows.filter(({ ended }) => ended === null);
    const slots = names.map(({ record }) => `${record.purpose}:${record.role ?? ""}`);
    if (new Set(slots).size !== slots.length) wrong.push("a purpose has two keys in force");
    wrong.push(...(await keystore.strays()).map(({ path, why }) => `${path}: ${why}`));
    return wrong;
  } finally {
    await installation.close();
  }
}
