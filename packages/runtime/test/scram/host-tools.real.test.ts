import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openTools } from "../../src/services/runs/open-session.ts";
import { isAlive, identify, startToolRun, withTools } from "../../src/process/index.ts";
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
