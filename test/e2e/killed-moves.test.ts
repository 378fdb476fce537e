import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ComplianceBundle } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { VendorStore } from "../../packages/runtime/src/agents/index.ts";
import { TestRepository } from "../../packages/runtime/test/executor/support/repository.ts";
import { endOf, Installation, type Json, runEnded } from "./cli.ts";
import { killInMove, killUnwritten } from "./kill-at-entry.ts";

// Whatever is done with a run next, after a kill amid its move of the branch.

const FILES = [
  ...["--policy", resolve("examples/exec/policy.json")],
  ...["--request", resolve("examples/exec/request.json")],
];
/** Each step of the example, its commit, and then what brings them back. */
const COMPLETED = "execution.completed#16";
const SCRIPT = `#!/bin/sh\nprintf '%s' "$1" >said.txt\necho changed >a.txt\n`;

let installation: Installation;
let repository: TestRepository;
let base: string;
beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  const vendors = new VendorStore(join(installation.home, "models"), null);
  const about = {
    name: "nobody",
    baseUrl: "http://127.0.0.1:9",
    auth: "bearer",
    key: "k",
  } as const;
  const prices = { provider: "openai", price: null, outputField: "max_tokens" } as const;
  const wires = ["openai_chat"] as const;
  await vendors.add({ ...about, ...prices, wires }, "2026-01-01T00:00:00.000Z", false);
});
afterAll(async () => {
  await installation.dispose();
});
beforeEach(() => {
  repository = new TestRepository({ "README.md": "# Mine\n", "a.txt": "a\n" });
  repository.write("my-agent", SCRIPT, 0o755);
  repository.commit("agents");
  repository.write("mine.txt", "not committed\n");
  base = head();
});
afterEach(() => {
  repository.dispose();
});

const head = (): string => repository.git("rev-parse", "HEAD");
const commits = (): number => Number(repository.git("rev-list", "--count", `${base}..HEAD`));

/** A command that is killed, and the run that it worked on. */
async function killed(args: readonly string[], env: Record<string, string>): Promise<string> {
  const end = await endOf(installation.start(args, env));
  expect(end.code, end.err).toBeNull();
  const { documents } = await installation.json(["runs", "list"]);
  return String(documents[0]?.["run"]);
}

async function execution(env: Record<string, string>): Promise<string> {
  return killed(["exec", "run", ...FILES, "--repo", repository.root], env);
}

async function said(...words: string[]): Promise<Json> {
  return runEnded((await installation.json(words)).documents);
}

/** Nothing of ours holds the repository, and nothing of a half move is left. */
function expectFree(): void {
  const left = readdirSync(join(repository.root, ".git"));
  expect(left.filter((name) => /lock|sovereign/.test(name))).toEqual([]);
  expect(repository.git("status", "--porcelain")).toBe("?? mine.txt");
}

/** The run's evidence is whole, and says where the branch was brought. */
function expectEvidence(run: string, at: string): void {
  const read = (name: string): Buffer => readFileSync(join(installation.home, "runs", run, name));
  const bytes = read("compliance_bundle.json");
  expect(verifyBundle(bytes, { trustRoot: read("trust-root.json") }).verdict).toBe("VALID");
  expect(JSON.parse(read("execution_result.json").toString())).toMatchObject({ head_commit: at });
  const { entries } = JSON.parse(bytes.toString()) as ComplianceBundle;
  const done = entries.filter(({ entry: { event_type: event, data } }) => {
    return event === "execution.completed" && data["step_id"] === "bring_back";
  });
  expect(done).toHaveLength(at === base ? 0 : 1);
}

describe("an execution that is killed amid its move of the branch, and cancelled", () => {
  it("before the branch moved has everything put back", async () => {
    const run = await execution(killInMove("placed"));
    expect(repository.git("status", "--porcelain")).not.toBe("?? mine.txt");
    const cancelled = await said("runs", "cancel", run, "--reason", "enough");
    expect(cancelled).toMatchObject({ status: "failed", code: "ERR_RUN_CANCELLED" });
    expect(commits()).toBe(0);
    expectFree();
    expectEvidence(run, base);
  });

  it.each([
    ["right after the branch moved", () => killInMove("moved")],
    ["before it recorded that", () => killUnwritten(COMPLETED)],
    ["before it recorded its evidence", () => killUnwritten("evidence.recorded")],
  ])("%s has completed, and can be rolled back", async (_, env) => {
    const run = await execution(env());
    expect(commits()).toBe(6);
    const brought = head();
    const cancelled = await said("runs", "cancel", run, "--reason", "enough");
    expect(cancelled).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(cancelled["reason"]).toContain(`sovereign exec rollback ${run}`);
    expectFree();
    expectEvidence(run, brought);
    expect(await installation.run(["gates", "run", run])).toMatchObject({ code: 0 });
    expect(await said("exec", "rollback", run)).toMatchObject({ status: "completed" });
    expect(head()).toBe(base);
    expectFree();
  });
});

describe("a rollback that is killed right after the branch moved back", () => {
  it("is proved where it is cancelled", async () => {
    const { documents } = await installation.json([
      "exec",
      "run",
      ...FILES,
      "--repo",
      repository.root,
    ]);
    const { run: of } = runEnded(documents) as Json;
    const run = await killed(["exec", "rollback", String(of)], killInMove("moved"));
    expect(run).not.toBe(of);
    const cancelled = await said("runs", "cancel", run, "--reason", "enough");
    expect(cancelled).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(head()).toBe(base);
    expectFree();
  });
});

describe("an agent whose result is being applied by a process that is killed", () => {
  async function applying(at: "placed" | "moved"): Promise<string> {
    const order = ["agent", "run", "custom", "Say", "--command", "./my-agent '{task}'"];
    const worked = await installation.run([...order, "--repo", repository.root]);
    expect(worked, worked.err).toMatchObject({ code: 0 });
    return killed(
      ["agent", "apply", /run_[a-z2-7]{20}/.exec(worked.out)?.[0] ?? ""],
      killInMove(at),
    );
  }

  it("before the branch moved is discarded, and nothing of it stays", async () => {
    const run = await applying("placed");
    expect(existsSync(join(repository.root, "said.txt"))).toBe(true);
    const discarded = await installation.run(["agent", "discard", run]);
    expect(discarded, discarded.err).toMatchObject({ code: 0 });
    expect(head()).toBe(base);
    expectFree();
    expectEvidence(run, base);
  });

  it("before the branch moved is discarded, and what the user edited since stays", async () => {
    const run = await applying("placed");
    repository.write("a.txt", "mine\n");
    const discarded = await said("agent", "discard", run);
    expect(discarded).toMatchObject({ code: "ERR_AGENT_DISCARDED", verdict: "VALID" });
    expect(discarded["reason"]).toContain('You edited "a.txt" meanwhile');
    expect(head()).toBe(base);
    expect(repository.read("a.txt")).toBe("mine\n");
    expect(repository.git("status", "--porcelain")).toBe(" M a.txt\n?? mine.txt");
    expectEvidence(run, base);
  });

  it("right after the branch moved is not discarded, but can be rolled back", async () => {
    const run = await applying("moved");
    const brought = head();
    const discarded = await installation.json(["agent", "discard", run]);
    expect(discarded.documents.at(-1)).toMatchObject({ error: { code: "ERR_RUN_SEALED" } });
    expect(discarded.code).not.toBe(0);
    expect(JSON.stringify(discarded.documents)).toContain(`sovereign exec rollback ${run}`);
    expectFree();
    expectEvidence(run, brought);
    expect(await said("exec", "rollback", run)).toMatchObject({ status: "completed" });
    expect(head()).toBe(base);
    expectFree();
  });

  it.each(["resume", "apply"])("right after the branch moved is recorded by %s", async (word) => {
    const run = await applying("moved");
    const brought = head();
    expect(await said("agent", word, run)).toMatchObject({ status: "completed" });
    expectFree();
    expectEvidence(run, brought);
  });
});
