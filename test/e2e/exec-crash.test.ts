import { type ChildProcess, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation, runEnded } from "./cli.ts";
import { killAt as killAtEntry } from "./kill-at-entry.ts";

const FILES = [
  "--policy",
  resolve("examples/exec/policy.json"),
  "--request",
  resolve("examples/exec/request.json"),
];
/** More by hand: EXEC_CRASH_TRIALS=100 vitest run --project real test/e2e/exec-crash.test.ts */
const TRIALS = Number(process.env["EXEC_CRASH_TRIALS"] ?? 2);
/** What an execution of six steps says, from its start to its end. */
const LINES = 15;
/** About what passes between two lines; more before the first. */
const LINE_MS = 150;
const START_MS = 600;
/** Before it, a rollback has hardly begun; after both, it has ended by itself. */
const ROLLBACK_EARLIEST_MS = 400;
const ROLLBACK_MS = 1600;

let installation: Installation;
beforeAll(() => {
  installation = new Installation({ processes: "one" });
});
afterAll(async () => {
  await installation.dispose();
});

function makeRepository(name: string): { root: string; git: (...args: string[]) => string } {
  const root = join(installation.home, name);
  mkdirSync(root);
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  const git = (...args: string[]): string =>
    execFileSync("git", [...identity, ...args], { cwd: root, encoding: "utf8" }).trimEnd();
  git("init", "-q", "-b", "main");
  writeFileSync(join(root, "README.md"), "# Mine\n");
  git("add", "-A");
  git("commit", "-q", "-m", "base");
  writeFileSync(join(root, "mine.txt"), "not committed\n");
  return { root, git };
}

async function newestRun(): Promise<{ run: string; status: string } | null> {
  const { documents } = await installation.json(["run", "list"]);
  return (documents[0] ?? null) as { run: string; status: string } | null;
}

/** Kill a rollback as well; the status command ends what that left. */
async function rollBackKilled(run: string, share: number): Promise<void> {
  const child = installation.start(["exec", "rollback", run]);
  const ended = endOf(child);
  await sleep(ROLLBACK_EARLIEST_MS + share * ROLLBACK_MS);
  child.kill("SIGKILL");
  await ended;
  const { code, documents } = await installation.json(["exec", "status", run]);
  // Before it stands what became of the rollback, where the kill left one that moved the branch.
  const place = expect.stringMatching(/^at (?:base|result)$/) as string;
  expect({ code, said: documents.at(-1) }).toMatchObject({ code: 0, said: { place } });
}

/**
 * Kill an execution when a share of it is done: told by what it says, however fast the machine is.
 * @returns its exit code; null when it was killed before its end
 */
async function killAt(child: ChildProcess, share: number): Promise<number | null> {
  let said = 0;
  child.stdout?.on("data", (chunk) => (said += String(chunk).split("\n").length - 1));
  const ended = endOf(child);
  const line = Math.floor(share * LINES);
  while (said < line && child.exitCode === null) await sleep(2);
  await sleep((share * LINES - line) * (line === 0 ? START_MS : LINE_MS));
  child.kill("SIGKILL");
  return (await ended).code;
}

describe("an execution that is killed", () => {
  const trials = Array.from({ length: TRIALS }, (_, index) => index);
  it.each(trials)("at a random instant leaves base or result, and goes on (%i)", async (index) => {
    const { root, git } = makeRepository(`repo-${index}`);
    const base = git("rev-parse", "HEAD");
    const before = await newestRun();
    const child = installation.start(["exec", "run", ...FILES, "--repo", root, "--json"]);
    // Spread evenly, with chance in each share, so that every part of a run is met.
    const share = (index + Math.random()) / TRIALS;
    const code = await killAt(child, share);

    const found = await newestRun();
    if (found === null || found.run === before?.run) {
      // Killed before its first entry: nothing may have happened.
      expect(git("rev-parse", "HEAD")).toBe(base);
      expect(git("status", "--porcelain")).toBe("?? mine.txt");
      return;
    }
    const status = await installation.json(["exec", "status", found.run]);
    expect(status.documents[0]).toMatchObject({ repository: root });
    if (status.documents[0]?.["status"] === "running") {
      expect(status.documents[0]["reason"]).toContain(`sovereign exec resume ${found.run}`);
      const kept = status.documents[0]["kept"] as string[];
      const refs = git("for-each-ref", "--format=%(refname)", `refs/sovereign/${found.run}/`);
      expect(kept.filter((one) => one.startsWith("refs/")).join("\n")).toBe(refs);
    }
    const place = status.documents[0]?.["place"];
    expect(["at base", "at result"]).toContain(place);
    expect(git("rev-list", "--count", `${base}..HEAD`)).toBe(place === "at base" ? "0" : "6");
    expect(git("status", "--porcelain")).toBe("?? mine.txt");
    expect(existsSync(join(root, ".git/index.lock"))).toBe(false);

    if (code === null || found.status === "running") {
      const resumed = await installation.json(["exec", "resume", found.run]);
      const last = resumed.documents.at(-1);
      // It may have been sealed in its last moment.
      if (JSON.stringify(last).includes("ERR_RUN_SEALED")) expect(place).toBe("at result");
      else
        expect(runEnded(resumed.documents)).toMatchObject({
          status: "completed",
          reason: null,
          verdict: "VALID",
        });
    }
    expect(git("rev-list", "--count", `${base}..HEAD`)).toBe("6");
    await rollBackKilled(found.run, share);
    expect(git("status", "--porcelain")).toBe("?? mine.txt");
    if (git("rev-parse", "HEAD") !== base) {
      const back = await installation.json(["exec", "rollback", found.run]);
      expect(runEnded(back.documents)).toMatchObject({
        status: "completed",
        reason: null,
        verdict: "VALID",
      });
    }
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(git("status", "--porcelain")).toBe("?? mine.txt");
    expect(git("fsck", "--strict")).not.toMatch(/error|missing/);
  });

  it.each([0, 40, 110])("%i ms after its last step ends with one evidence", async (ms) => {
    const { root, git } = makeRepository(`end-${ms}`);
    const runs = join(installation.home, "runs");
    const before = new Set(existsSync(runs) ? readdirSync(runs) : []);
    const child = installation.start(["exec", "run", ...FILES, "--repo", root]);
    const ended = endOf(child);
    const tapeEnds = (): boolean => {
      const run = existsSync(runs) ? readdirSync(runs).find((one) => !before.has(one)) : undefined;
      const tape = join(runs, run ?? "none", "audit/run_tape.jsonl");
      return existsSync(tape) && readFileSync(tape, "utf8").includes('"event":"run_end"');
    };
    for (let waited = 0; !tapeEnds() && waited < 60_000; waited += 5) await sleep(5);
    await sleep(ms);
    child.kill("SIGKILL");
    await ended;
    const found = await newestRun();
    const run = found?.run ?? "";
    if (found?.status === "running") {
      const resumed = await installation.json(["exec", "resume", run]);
      expect(runEnded(resumed.documents)).toMatchObject({
        status: "completed",
        reason: null,
        verdict: "VALID",
      });
    }
    expect(git("log", "--format=%s", "-6").split("\n")[0]).toBe("Say what is here");
    expect(await installation.run(["gates", "run", run])).toMatchObject({ code: 0 });
  });
});

describe("an execution that is killed once the failure of a command is recorded", () => {
  /** The example, with a test in its second step that fails. */
  async function failed(name: string): Promise<string> {
    const { root } = makeRepository(name);
    const request = readFileSync("examples/exec/request.json", "utf8");
    const path = join(installation.home, `${name}.json`);
    writeFileSync(path, request.replace("sum([1, 2, 3]), 6", "sum([1, 2, 3]), 7"));
    const args = ["--policy", "examples/exec/policy.json", "--request", path, "--repo", root];
    const env = killAtEntry("execution.failed");
    const child = installation.start(["exec", "run", ...args, "--json"], env);
    expect((await endOf(child)).code).toBeNull();
    const found = await newestRun();
    expect(found).toMatchObject({ status: "running" });
    return found?.run ?? "";
  }

  it.each([
    ["is not tried again", [], 1],
    ["is tried again where that is asked for", ["--retry-failed"], 2],
  ])("%s when it is resumed", async (name, flags, attempt) => {
    const run = await failed(name.replaceAll(" ", "-"));
    const resumed = await installation.json(["exec", "resume", run, ...flags]);
    const ended = { status: "failed", code: "ERR_COMMAND_FAILED", verdict: "VALID" };
    expect(runEnded(resumed.documents)).toMatchObject(ended);
    const { documents } = await installation.json(["runs", "show", run]);
    const steps = documents[0]?.["steps"] as Record<string, unknown>[];
    expect(steps.at(-1)).toMatchObject({ status: "failed", attempt });
    const late = await installation.json(["exec", "resume", run, "--retry-failed"]);
    expect(late).toMatchObject({ code: 2, documents: [{ error: { code: "ERR_RUN_SEALED" } }] });
  });
});
