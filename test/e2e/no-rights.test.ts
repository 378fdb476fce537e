import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copyCluster } from "../../packages/runtime/test/support/prepared.ts";
import { type CliEnd, endOf } from "./cli.ts";

/** Root may read and write everything: an ordinary user may not. */
const USER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
const OFFICERS = ["--operator-key", "alice", "--architect-key", "bob"];
const ACTIVATE = ["scram", "activate", ...OFFICERS];
const POLICY = {
  policy_id: "rights",
  schema_version: "1.0.0",
  allowed_git_operations: ["git_commit"],
  allowlist: {
    file_operations: ["write_file", "update_file", "mkdir"],
    commands: [{ id: "sh", executable: "sh", allowed_args: ["**"] }],
    paths: ["**"],
  },
};

let folder: string;
let home: string;
let repository: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-rights-"));
  [home, repository] = [join(folder, "home"), join(folder, "repo")];
  copyCluster(join(home, "postgres"));
  writeFileSync(join(folder, "policy.json"), JSON.stringify(POLICY));
  // A sentinel that stays between the commands.
  writeFileSync(join(home, "config.yaml"), "scram:\n  linger_seconds: 60\n", { mode: 0o600 });
  execFileSync("chmod", ["700", home]);
  if (USER.uid !== undefined) execFileSync("chown", ["-R", `${USER.uid}:${USER.gid}`, folder]);
  const made = "mkdir -p docs && echo a > a.txt && echo b > docs/b.txt && git init -q -b main";
  const identity = "git config user.name User && git config user.email user@example.org";
  ordinary("sh", [
    "-c",
    `mkdir repo && cd repo && ${made} && ${identity} && git add . && git commit -qm base`,
  ]);
  const people = ["--operator", "alice", "--architect", "bob"];
  expect(await cli("keys", "init", "--role", "executor", ...people)).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
});

const environment = (): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  HOME: folder,
  SOVEREIGN_HOME: home,
});

function ordinary(command: string, args: readonly string[]): string {
  const options = { cwd: folder, env: environment(), encoding: "utf8", ...USER } as const;
  return execFileSync(command, args, options);
}

function start(command: string, args: readonly string[]): Promise<CliEnd> {
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  return endOf(spawn(command, args, { cwd: folder, env: environment(), stdio, ...USER }));
}

const cli = (...args: string[]): Promise<CliEnd> =>
  start(process.execPath, [resolve("packages/runtime/bin/sovereign.js"), ...args]);
const script = (): Promise<CliEnd> => start("/bin/sh", [resolve("packages/runtime/bin/scram")]);

/** Work while something has lost its rights. */
async function without<T>(path: string, mode: number, work: () => Promise<T>): Promise<T> {
  const before = statSync(path).mode & 0o777;
  chmodSync(path, mode);
  try {
    return await work();
  } finally {
    chmodSync(path, before);
  }
}

const reset = (): Promise<CliEnd> => cli("scram", "reset", ...OFFICERS, "--reason", "a trial");

describe("without rights on", () => {
  it.each<[string, readonly string[], number, RegExp]>([
    ["", ["scram", "status"], 1, /Type: chmod 700 "[^"]*home"/],
    ["", ["health"], 1, /Type: chmod 700 "[^"]*home"/],
    ["keys", ACTIVATE, 1, /without keys, type: scram.*Type: chmod 700 "[^"]*keys"/],
    ["keys", ["health"], 5, /Type: chmod 700 "[^"]*keys"/],
    ["config.yaml", ["health"], 5, /Type: chmod 600 "[^"]*config.yaml"/],
    ["installation.json", ["health"], 5, /Type: chmod 600 "[^"]*installation.json"/],
    ["postgres/data", ["run", "list"], 1, /Type: chmod 700 "[^"]*postgres\/data"/],
  ])("%s, %j exits %i, and says what to type", async (place, args, code, said) => {
    const end = await without(join(home, place), 0, () => cli(...args));
    expect(end).toMatchObject({ code });
    expect(end.err + end.out).toMatch(said);
  });

  it("the keys, the script stops everything", async () => {
    expect(await without(join(home, "keys"), 0, script)).toMatchObject({ code: 0 });
    expect(await cli("scram", "status")).toMatchObject({ code: 5 });
    expect(await reset()).toMatchObject({ code: 0 });
  });

  it.each<[string, string, number]>([
    ["two keys stop everything", "", 0],
    ["two keys stop everything", "scram", 0],
    ["two keys stop everything, and it is recorded", "scram/journal.jsonl", 0o400],
    ["two keys stop everything, and it is recorded", "scram/journal.jsonl", 0],
    ["two keys stop everything, and it is recorded", "scram/envelopes", 0o500],
  ])("what a stop is written to, %s: %s, mode %i", async (_what, place, mode) => {
    // The second finds the sentinel that the first has started.
    expect(await cli(...ACTIVATE)).toMatchObject({ code: 0 });
    const stop = await without(join(home, place), mode, () => cli(...ACTIVATE));
    expect(stop).toMatchObject({ code: 0 });
    expect(stop.out).toMatch(/^COMPLETE/);
    expect(await cli("scram", "status")).toMatchObject({ code: 5 });
    expect(await reset()).toMatchObject({ code: 0 });
  });
});

describe("a user's repository", () => {
  const look = (): string =>
    ordinary("sh", [
      "-c",
      "cd repo && git rev-parse HEAD && git status --porcelain && ls .git && cat a.txt docs/b.txt",
    ]);
  const run = (): Promise<CliEnd> => {
    const change = "echo z >> a.txt; echo z >> docs/b.txt; mkdir -p new && echo n > new/f";
    const words = ["--policy", join(folder, "policy.json"), "--repo", repository];
    return cli("exec", "run", ...words, "--", "sh", "-c", change);
  };

  it.each<[string, number]>([
    ["", 0],
    [".git", 0],
    [".git", 0o500],
    [".git/objects", 0o500],
    [".git/refs/heads", 0o500],
    [".git/HEAD", 0],
    [".git/index", 0],
  ])("that may not be used is refused before anything runs: %s, mode %i", async (place, mode) => {
    const before = look();
    const end = await without(join(repository, place), mode, run);
    expect(end).toMatchObject({ code: 2, out: "" });
    expect(end.err).toMatch(/Type: chmod u\+\w+ "[^"]*repo/);
    expect(look()).toBe(before);
  });

  it.each<[string, number]>([
    ["", 0o500],
    ["docs", 0o500],
    ["docs", 0],
    ["a.txt", 0],
  ])("whose files may not be changed is left as it was: %s, mode %i", async (place, mode) => {
    const before = look();
    const end = await without(join(repository, place), mode, run);
    expect(end.code).not.toBe(0);
    expect(end.out).toMatch(/chmod -R u\+rwX/);
    expect(end.out).toContain("verdict: VALID");
    expect(look()).toBe(before);
    expect(readFileSync(join(repository, "a.txt"), "utf8")).toBe("a\n");
  });
});
