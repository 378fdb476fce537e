import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation, type Json, runEnded } from "./cli.ts";

const PIPELINE = [
  "run",
  "examples/iron-path/pipeline.yaml",
  ...["--approve", "release_manager", "--approve", "safety_officer"],
];
const EXECUTION = [
  ...["exec", "run", "--policy", "examples/exec/policy.json"],
  ...["--request", "examples/exec/request.json", "--repo"],
];

let installation: Installation;
let repo: string;
beforeAll(async () => {
  installation = new Installation();
  repo = join(installation.home, "repo");
  mkdirSync(repo);
  writeFileSync(join(repo, "README.md"), "# Mine\n");
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  for (const words of [
    ["init", "-q"],
    ["add", "-A"],
    ["commit", "-q", "-m", "base"],
  ]) {
    execFileSync("git", [...identity, ...words], { cwd: repo });
  }
  const roles = ["release_manager", "safety_officer"].flatMap((one) => ["--approver", one]);
  const others = ["data_engineer", "trainer", "deployer", "coordinator", "auditor"];
  const agents = ["planner", "validator", "executor", "oversight"];
  const keys = [...others, ...agents].flatMap((one) => ["--role", one]);
  await installation.run(["keys", "init", ...roles, ...keys]);
});
afterAll(async () => {
  await installation.dispose();
});

const runs = (): string[] => {
  const folder = join(installation.home, "runs");
  return existsSync(folder) ? readdirSync(folder).filter((one) => one.startsWith("run_")) : [];
};

async function until(there: () => boolean): Promise<void> {
  for (let waited = 0; !there(); waited += 20) {
    if (waited > 90_000) throw new Error("it did not come");
    await sleep(20);
  }
}

/** Kill it when the last file before its bundle is there. */
async function killAtBundle(words: readonly string[]): Promise<{ run: string; folder: string }> {
  const known = runs();
  const control = installation.start([...words, "--json"]);
  const ended = endOf(control);
  const mine = (): string | undefined => runs().find((one) => !known.includes(one));
  await until(() => mine() !== undefined);
  const run = mine() ?? "";
  const folder = join(installation.home, "runs", run);
  // A folder in its place is put aside, but not beside a thousand that were: it ends there.
  const place = join(folder, "compliance_bundle.json");
  const inTheWay = [place];
  for (let at = 1; at <= 1000; at++) inTheWay.push(`${place}.aside-${at}`);
  for (const one of inTheWay) mkdirSync(one);
  await until(() => existsSync(join(folder, "trust-root.json")));
  control.kill("SIGKILL");
  expect(await ended).not.toMatchObject({ code: 0 });
  for (const one of inTheWay) rmdirSync(one);
  expect(existsSync(join(folder, "compliance_bundle.json"))).toBe(false);
  return { run, folder };
}

describe("a run that was killed between its seal and its bundle", () => {
  it.each<[string, string[], string[]]>([
    ["pipeline", PIPELINE, ["run", "resume"]],
    ["execution", EXECUTION, ["run", "resume"]],
  ])("has its evidence written by resume: a %s", async (kind, words, resume) => {
    const { run, folder } = await killAtBundle(kind === "execution" ? [...words, repo] : words);
    const { documents: listed } = await installation.json(["run", "list"]);
    expect(listed.find((one) => one["run"] === run)).toMatchObject({ status: "completed" });
    const { code, documents } = await installation.json([...resume, run]);
    expect(code).toBe(0);
    const end = runEnded(documents);
    expect(end).toMatchObject({ status: "completed", verdict: "VALID", run });
    const evidence = ["--bundle", end.bundle, "--trust", end.trust_root];
    expect(await installation.run(["verify", ...evidence])).toMatchObject({ code: 0 });
    if (kind === "pipeline") {
      const path = join(folder, "execution_summary.json");
      const summary = JSON.parse(readFileSync(path, "utf8")) as Json;
      expect(summary).toMatchObject({ run_id: run, status: "completed", tenant_id: "default" });
      expect(summary["artifacts"]).not.toHaveLength(0);
      expect(summary["config_digest"]).toMatch(/^[0-9a-f]{64}$/);
    }
    const again = await installation.json([...resume, run]);
    expect(again.documents.at(-1)).toMatchObject({ error: { code: "ERR_RUN_SEALED" } });
  });
});
