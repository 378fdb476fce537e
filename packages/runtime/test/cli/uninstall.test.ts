import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { installationIdOf, openDataFolder, programCommand } from "../../src/home/index.ts";
import { groupNameOf, MARKER_VARIABLE, ScramLatch } from "../../src/scram/index.ts";
import { createServices } from "../../src/services/index.ts";
import { socketFolderOf } from "../../src/store/index.ts";

const CLI = join(import.meta.dirname, "../../bin/sovereign.js");
const { PATH = "" } = process.env;
const RUN = `run_${"a".repeat(20)}`;
let folder: string;
let home: string;
let outside: string;
let children: ChildProcess[] = [];

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "sov-uninstall-")));
  home = join(folder, "data");
  outside = join(folder, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "precious"), "kept");
  fill(home);
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children = [];
  rmSync(folder, { recursive: true });
});

/** A data folder that has been used, and is at rest. */
function fill(root: string): void {
  const data = openDataFolder(root);
  installationIdOf(root);
  const ours = ["trusted-policies", "secrets", "skills"].map((name) => join(root, name));
  for (const path of [data.keys, data.registry, data.postgres, ...ours]) {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "one"), "content");
  }
  mkdirSync(data.run(RUN), { recursive: true });
  new ScramLatch(data.scram);
}

/** As the command does it, without a process for each. */
async function uninstall(root: string, ...words: string[]) {
  const env = { PATH, HOME: join(folder, "person"), SOVEREIGN_HOME: root };
  const none = { parts: [], stays: [], removed: false, blocked: null };
  try {
    const report = await createServices(env).uninstall(words.includes("--yes"));
    return { status: 0, ...report, error: null };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { ...none, status: error.exitCode, error };
  }
}

function type(HOME: string, SOVEREIGN_HOME: string, ...words: string[]) {
  const env = { PATH, HOME, SOVEREIGN_HOME };
  const line = [CLI, "uninstall", ...words];
  return spawnSync(process.execPath, line, { env, encoding: "utf8" });
}

/** Every name below a folder, links not followed. */
function namesIn(path: string): string[] {
  return readdirSync(path, { recursive: true }).map(String).sort();
}

describe("uninstall", () => {
  it("lists what is where and removes nothing; with --yes it removes all of it", async () => {
    const socket = socketFolderOf(join(home, "postgres"));
    mkdirSync(socket, { mode: 0o700 });
    writeFileSync(join(socket, "folder"), join(home, "postgres"));
    const before = namesIn(home);
    const { status, ...answer } = await uninstall(home);
    expect({ status, removed: answer.removed, blocked: answer.blocked }).toEqual({
      status: 0,
      removed: false,
      blocked: null,
    });
    expect(namesIn(home)).toEqual(before);
    const paths = answer.parts.map(({ path }) => path);
    for (const name of readdirSync(home)) expect(paths).toContain(join(home, name));
    expect(paths).toContain(socket);
    expect(await uninstall(home, "--yes")).toMatchObject({ status: 0, removed: true });
    expect([existsSync(home), existsSync(socket)]).toEqual([false, false]);
  });

  it("says in words that keys end, and how evidence stays valid", () => {
    const end = type(folder, home);
    expect(end.stdout).toMatch(/keys: removed for ever[^]*trust root[^]*uninstall --yes/);
  });

  it("follows no link out of the data folder, and leaves what is not of Sovereign", async () => {
    rmSync(join(home, "keys"), { recursive: true });
    symlinkSync(outside, join(home, "keys"));
    symlinkSync(outside, join(home, "runs", RUN, "out"));
    symlinkSync(outside, join(home, "runs.aside-1"));
    mkdirSync(join(home, "mine"));
    writeFileSync(join(home, "keys.aside-x"), "mine");
    const { status, ...answer } = await uninstall(home, "--yes");
    expect(status).toBe(0);
    expect(answer.parts).toContainEqual(
      expect.objectContaining({ path: join(home, "keys"), leadsTo: outside }),
    );
    expect(readFileSync(join(outside, "precious"), "utf8")).toBe("kept");
    expect(namesIn(home)).toEqual(["keys.aside-x", "mine"]);
    expect(answer.stays.map(({ path }) => path).sort()).toEqual([
      join(home, "keys.aside-x"),
      join(home, "mine"),
    ]);
  });

  const refusals: [string, () => string][] = [
    ["the root of all", () => "/"],
    ["a folder that is not there", () => join(folder, "none")],
    ["a file", () => join(outside, "precious")],
    ["a folder without an identity", () => outside],
    [
      "an identity that is none",
      () => {
        writeFileSync(join(home, "installation.json"), '{"installation_id":"x"}');
        return home;
      },
    ],
    [
      "an identity that is a link",
      () => {
        symlinkSync(join(home, "installation.json"), join(outside, "installation.json"));
        return outside;
      },
    ],
    [
      "a link to a data folder",
      () => {
        symlinkSync(home, join(folder, "link"));
        return join(folder, "link");
      },
    ],
    [
      "a work tree",
      () => {
        mkdirSync(join(home, ".git"));
        return home;
      },
    ],
  ];
  it.each(refusals)("refuses %s, and removes nothing", async (_, make) => {
    const root = make();
    const before = namesIn(folder);
    const { status, ...answer } = await uninstall(root, "--yes");
    expect({ status, code: answer.error?.code }).toEqual({
      status: 2,
      code: "ERR_UNINSTALL_REFUSED",
    });
    expect(namesIn(folder)).toEqual(before);
  });

  it("refuses the home folder and those above it, even with an identity in them", () => {
    for (const [person, name] of [
      [home, home],
      [join(home, "runs"), `${home}/runs/..`],
    ] as const) {
      const { status, stderr } = type(person, name, "--yes");
      expect(status).toBe(2);
      expect(stderr).toMatch(/holds the home folder.*ERR_UNINSTALL_REFUSED/);
    }
    expect(existsSync(join(home, "keys", "one"))).toBe(true);
  });

  it("refuses while a stop is in force, one that cannot be read included", async () => {
    const latch = join(home, "scram", "LATCH");
    writeFileSync(latch, "not a latch");
    const before = namesIn(home);
    const { status, ...answer } = await uninstall(home, "--yes");
    expect({ status, code: answer.error?.code }).toEqual({ status: 5, code: "ERR_SCRAM_TRIPPED" });
    expect(answer.error?.message).toContain("sovereign scram reset");
    expect(namesIn(home)).toEqual(before);
    expect((await uninstall(home)).blocked).toContain("A stop is in force");
    expect(lstatSync(latch).isFile()).toBe(true);
  });

  it("refuses while work lives that no sentinel answers for", async () => {
    const marker = `${groupNameOf(join(home, "scram"))}/pth_1`;
    const env = { PATH, [MARKER_VARIABLE]: marker };
    children.push(spawn("sleep", ["60"], { env, stdio: "ignore" }));
    const { status, ...answer } = await uninstall(home, "--yes");
    expect({ status, code: answer.error?.code }).toEqual({ status: 2, code: "ERR_UNINSTALL_LIVE" });
    expect(answer.error?.message).toContain("sovereign scram status");
    expect(existsSync(join(home, "keys", "one"))).toBe(true);
  });

  it("refuses while the embedded database lives", async () => {
    const data = join(home, "postgres", "data");
    mkdirSync(data);
    // A living server is told by its pid file and its command line.
    const server = spawn("sleep", ["60"], { argv0: "/x/postgres", stdio: "ignore" });
    children.push(server);
    writeFileSync(join(data, "postmaster.pid"), `${String(server.pid)}\n`);
    expect(await uninstall(home, "--yes")).toMatchObject({
      status: 2,
      error: { code: "ERR_UNINSTALL_LIVE" },
    });
    expect(existsSync(data)).toBe(true);
  });

  it("refuses while the sentinel lives", async () => {
    const [node, ...args] = programCommand("sentinel");
    const sentinel = spawn(node, [...args, home], { env: { PATH }, stdio: "ignore" });
    children.push(sentinel);
    for (let at = 0; at < 600 && !existsSync(join(home, "scram", "sentinel.sock")); at++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { status, ...answer } = await uninstall(home, "--yes");
    expect({ status, code: answer.error?.code }).toEqual({ status: 2, code: "ERR_UNINSTALL_LIVE" });
    expect(existsSync(join(home, "keys", "one"))).toBe(true);
    const ended = new Promise((resolve) => sentinel.once("exit", resolve));
    sentinel.kill("SIGTERM");
    await ended;
  });
});
