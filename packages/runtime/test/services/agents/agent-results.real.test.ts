import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CliEnd, Installation } from "../../../../../test/e2e/cli.ts";
import { VendorStore } from "../../../src/agents/index.ts";
import { TestRepository } from "../../executor/support/repository.ts";
import { ADDED_AT, scriptedVendor } from "../../support/model-rig.ts";

/** Nobody answers there: the agent of these tests needs no model, and a run of one needs a vendor. */
const VENDOR = scriptedVendor("http://127.0.0.1:9");
const installation = new Installation();
let repo: TestRepository;

beforeEach(() => {
  repo = new TestRepository({ "a.txt": "a\n" });
  repo.write("agent.sh", "#!/bin/sh\necho fixed > fix.txt\n");
  chmodSync(join(repo.root, "agent.sh"), 0o755);
  repo.commit("agent");
});
afterEach(() => {
  repo.dispose();
});
afterAll(async () => {
  await installation.dispose();
});

const agent = (...words: string[]): Promise<CliEnd> => installation.run(["agent", ...words]);
const work = (): Promise<CliEnd> =>
  agent("run", "custom", "Fix it", "--command", "./agent.sh {task}", "--repo", repo.root);
const at = (ref: string): string => repo.git("rev-parse", ref);

/** A run whose result waits on its branch. */
async function waiting(): Promise<{ run: string; branch: string; result: string }> {
  const { out, err } = await work();
  const run = /run_[a-z0-9]{20}/.exec(out)?.[0] ?? "";
  expect(out, err).toContain(`its result waits on the branch sovereign/${run}`);
  const branch = `sovereign/${run}`;
  return { run, branch, result: at(branch) };
}

describe("a run of an agent", () => {
  it("ends, and so does its command, where no vendor can be asked", async () => {
    const { code, out } = await work();
    expect(code).not.toBe(0);
    expect(out).toContain("verdict: VALID");
  });
});

describe("a result that waits", () => {
  beforeEach(async () => {
    const store = new VendorStore(join(installation.home, "models"), null);
    if (store.list().length === 0) await store.add(VENDOR, ADDED_AT, false);
  });

  it.each(["discard", "apply"])("%s leaves what the user committed on its branch", async (word) => {
    const { run, branch, result } = await waiting();
    repo.git("checkout", "-q", branch);
    repo.write("mine.txt", "mine\n");
    repo.commit("mine");
    const mine = at("HEAD");
    if (word === "apply") repo.git("checkout", "-q", "main");
    const { err } = await agent(word, run);
    expect(err).toContain(`the branch ${branch} stays: it is at ${mine.slice(0, 12)}`);
    expect(at(branch)).toBe(mine);
    if (word === "apply") expect(at("main")).toBe(result);
    else expect(repo.git("status", "--porcelain")).toBe("");
  });

  it("waits on where the user's branch moved since, and comes back when it is there again", async () => {
    const { run, branch, result } = await waiting();
    const base = at("main");
    repo.write("mine.txt", "mine\n");
    repo.commit("mine");
    const refused = await agent("apply", run);
    expect(refused.code).toBe(2);
    expect(refused.out).toContain(`git cherry-pick ${branch}`);
    expect(at(branch)).toBe(result);
    repo.git("checkout", "-q", "-b", "kept");
    repo.git("branch", "-f", "main", base);
    repo.git("checkout", "-q", "main");
    expect(await agent("apply", run)).toMatchObject({ code: 0 });
    expect(at("main")).toBe(result);
  });

  it("keeps its branch where a file of the user's is in the way", async () => {
    const { run, branch, result } = await waiting();
    repo.write("fix.txt", "mine\n");
    const { code, err } = await agent("apply", run);
    expect(code).not.toBe(0);
    expect(err).toContain(`the branch ${branch} stays`);
    expect(at(branch)).toBe(result);
    expect(repo.read("fix.txt")).toBe("mine\n");
  });
});
