import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { openTools } from "../../src/services/runs/open-session.ts";
import {
  ControlGroups,
  isAlive,
  identify,
  startToolRun,
  withTools,
} from "../../src/process/index.ts";
import { withinReach } from "../../src/services/host-tools.ts";
import { OWNER, rig } from "../support/scram-rig.ts";

const PATH = "/usr/local/bin:/usr/bin:/bin";

/** A git that lasts: it reads names for as long as somebody may say one. */
function longGit(onStarted: (pid: number) => void): ReturnType<typeof startToolRun> {
  return startToolRun("git", "git", ["hash-object", "--stdin-paths"], {
    env: { PATH },
    cwd: "/",
    stdoutBytesMax: 1000,
    timeoutMs: 60_000,
    reply: () => "",
    onStarted,
  });
}

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, "utf8").trim();
const until = async (what: () => boolean): Promise<void> => {
  for (let waited = 0; !what() && waited < 5000; waited += 5)
    await new Promise((next) => setTimeout(next, 5));
  expect(what()).toBe(true);
};

describe("a stop during a long git outside the sandbox", () => {
  it("leaves none alive, and an effect starts no other", async () => {
    const one = await rig();
    const { tools, close } = openTools(one.link, OWNER);
    const pids: number[] = [];
    const ends = withTools(tools, true, () =>
      [0, 1, 2].map(() => longGit((pid) => pids.push(pid))),
    );
    // Past the shell that sets the limits.
    await until(() => pids.length === 3 && pids.every((pid) => commandOf(pid) === "git"));
    const known = pids.map((pid) => identify(pid));
    const { event, body } = await one.stop();
    expect(event).toMatchObject({ scram_state: "COMPLETE" });
    expect(body).toMatchObject({ stragglers: [], errors: [] });
    expect(known.filter((git) => git !== null && isAlive(git))).toEqual([]);
    for (const end of await Promise.all(ends)) expect(end.ended).toBe("stopped");
    const after = await withTools(tools, true, () => longGit(() => pids.push(0)));
    expect(after.ended).toBe("stopped");
    expect(pids).not.toContain(0);
    close();
  });

  it("is no path that the sentinel misses on its list", async () => {
    const one = await rig();
    const { tools, close } = openTools(one.link, OWNER);
    let started = 0;
    const end = withTools(tools, true, () => longGit((pid) => (started = pid)));
    await until(() => started > 0);
    // Longer than a stranger is given to get onto the list.
    await new Promise((next) => setTimeout(next, 2500));
    expect(one.link.preflight(OWNER)).toMatchObject({ armed: true });
    tools.stop("ended by the test");
    expect((await end).ended).toBe("stopped");
    close();
  });

  it("leaves what is cleared up after the run's end to work without its groups", async () => {
    const one = await rig();
    const { tools, close } = openTools(one.link, OWNER);
    close();
    const options = { env: { PATH }, cwd: "/", stdoutBytesMax: 1000, timeoutMs: 10_000 };
    const end = withTools(tools, false, () => startToolRun("git", "git", ["--version"], options));
    expect(await end).toMatchObject({ ended: "exited", status: 0 });
  });
});

describe("a git that a command starts outside a run", () => {
  it("dies with a stop, and leaves no group", async () => {
    const one = await rig();
    let git = 0;
    const services = withinReach(one.home, {
      look: () => longGit((pid) => (git = pid)),
      status: () => 7,
    });
    expect(services.status()).toBe(7);
    const end = services.look();
    await until(() => git > 0 && commandOf(git) === "git");
    const known = identify(git);
    const groups = readFileSync(`/proc/${git}/cgroup`, "utf8");
    expect(groups + readFileSync(`/proc/${git}/environ`, "utf8")).toContain(
      `tools-${process.pid}-`,
    );
    const { event } = await one.stop();
    expect(event).toMatchObject({ scram_state: "COMPLETE" });
    expect(known !== null && isAlive(known)).toBe(false);
    expect(await end).toMatchObject({
      ended: "stopped",
      stderr: expect.stringContaining("kill switch") as string,
    });
    const root = ControlGroups.root(one.link.name);
    const left = root.folders.flatMap((folder) => readdirSync(folder));
    expect(left.filter((name) => name.startsWith("tools-"))).toEqual([]);
  });

  it("is begun again where a sentinel that starts takes it for what is left of another", async () => {
    const one = await rig();
    const pids: number[] = [];
    const folder = mkdtempSync(join(tmpdir(), "sov-swept-"));
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const options = { env: { PATH }, cwd: "/", stdoutBytesMax: 1000, timeoutMs: 20_000 };
    const services = withinReach(one.home, {
      look: () =>
        startToolRun("git", "git", ["hash-object", pipe], {
          ...options,
          onStarted: (pid) => pids.push(pid),
        }),
    });
    const end = services.look();
    await until(() => pids.length === 1 && commandOf(pids[0] ?? 0) === "git");
    process.kill(pids[0] ?? 0, "SIGKILL");
    await until(() => pids.length === 2 && commandOf(pids[1] ?? 0) === "git");
    writeFileSync(pipe, "content");
    expect(await end).toMatchObject({ ended: "exited", status: 0 });
    rmSync(folder, { recursive: true });
  });

  it("ends with the process that started it, however that one ends", async () => {
    const program = `
      import { startToolRun } from ${JSON.stringify(resolve("packages/runtime/src/process/index.ts"))};
      const wait = { env: { PATH: ${JSON.stringify(PATH)} }, cwd: "/", stdoutBytesMax: 9, timeoutMs: 60000 };
      await startToolRun("git", "git", ["hash-object", process.argv[1]],
        { ...wait, onStarted: (pid) => process.stdout.write(String(pid)) });`;
    const folder = mkdtempSync(join(tmpdir(), "sov-orphan-"));
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const child = spawn(process.execPath, ["--input-type=module", "-e", program, pipe]);
    let said = "";
    child.stdout.on("data", (text: Buffer) => (said += text.toString()));
    await until(() => said !== "" && commandOf(Number(said)) === "git");
    const git = identify(Number(said));
    child.kill("SIGKILL");
    await until(() => git !== null && !isAlive(git));
    rmSync(folder, { recursive: true });
  });

  it("runs where there is no data folder, which nobody could stop", async () => {
    const options = { env: { PATH }, cwd: "/", stdoutBytesMax: 1000, timeoutMs: 10_000 };
    const look = (): ReturnType<typeof startToolRun> =>
      startToolRun("git", "git", ["--version"], options);
    const end = withinReach("/nonexistent/home", { look }).look();
    expect(await end).toMatchObject({ ended: "exited", status: 0 });
  });
});
