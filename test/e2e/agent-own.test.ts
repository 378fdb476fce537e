import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VendorStore } from "../../packages/runtime/src/agents/index.ts";
import { TestRepository } from "../../packages/runtime/test/executor/support/repository.ts";
import { type CliEnd, endOf, Installation, type Json } from "./cli.ts";

const SUPPORT = new URL("../../packages/runtime/test/coding/support/", import.meta.url);
const SCRIPT = `#!/bin/sh\nprintf '%s' "$1" >said.txt\n`;

let installation: Installation;
let repository: TestRepository;
beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  const agent = readFileSync(new URL("acp-agent.mjs", SUPPORT));
  repository = new TestRepository({ "a.txt": "a\n", "agent.mjs": agent });
  repository.write("my-agent", SCRIPT, 0o755);
  repository.commit("agents");
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
  repository.dispose();
  await installation.dispose();
});

function agent(...words: string[]): Promise<CliEnd> {
  return installation.run(["agent", ...words]);
}

function work(name: string, task: string, ...more: string[]): Promise<CliEnd> {
  return agent("run", name, task, "--repo", repository.root, ...more);
}

describe("agents that the user names", () => {
  it("runs a program of the repository, whose result waits and is applied", async () => {
    const task = "Say; $(touch x) *";
    const worked = await work("custom", task, "--command", "./my-agent '{task}'");
    expect(worked, worked.err).toMatchObject({ code: 0 });
    const run = /run_[a-z2-7]{20}/.exec(worked.out)?.[0] ?? "";
    expect((await agent("diff", run)).out).toContain(`+${task}`);
    expect(await agent("apply", run)).toMatchObject({ code: 0 });
    expect(repository.git("show", "HEAD:said.txt")).toBe(task);
    const bundle = join(installation.home, "runs", run, "compliance_bundle.json");
    expect(readFileSync(bundle, "utf8")).toMatch(/"agent":"custom"/);
  });

  it("lets one of them work on a repository at a time, and says so to the other", async () => {
    const head = repository.git("rev-parse", "HEAD");
    const order = (task: string): string[] => [
      ...["agent", "run", "custom", task, "--repo", repository.root],
      ...["--command", "./my-agent '{task}'"],
    ];
    const ends = await Promise.all(
      ["first", "second"].map((task) => endOf(installation.start(order(task)))),
    );
    for (const { code, err } of ends) if (code !== 0) expect(err).toContain("ERR_REPOSITORY_BUSY");
    expect(ends.some(({ code }) => code === 0)).toBe(true);
    expect(repository.git("rev-parse", "HEAD")).toBe(head);
    expect(repository.git("status", "--short")).toBe("");
  });

  it("ends with exit 3 where an agent of the protocol ends at a denial", async () => {
    const ended = await work("acp", "Do it", "--command", "node agent.mjs denied");
    expect(ended).toMatchObject({ code: 3 });
    expect(ended.err + ended.out).toContain("it ended after Write was denied");
  });

  it("is refused where the command is missing, not wanted or nowhere", async () => {
    const refused = [
      await work("custom", "x"),
      await work("claude", "x", "--command", "./my-agent"),
      await work("acp", "x", "--command", "'open"),
      await work("acp", "x", "--command", "./nowhere acp"),
    ];
    expect(refused.map(({ code }) => code).every((code) => code !== 0)).toBe(true);
    expect(refused.map(({ err, out }) => /ERR_[A-Z_]+/.exec(err + out)?.[0])).toEqual([
      ...["ERR_REQUEST_INVALID", "ERR_REQUEST_INVALID", "ERR_REQUEST_INVALID"],
      "ERR_AGENT_MISSING",
    ]);
  });

  it("is denied where the policy does not name its adapter", async () => {
    const path = join(installation.home, "policy.json");
    const policy = { policy_id: "p", schema_version: "1.0.0", agent: { run: ["claude"] } };
    writeFileSync(path, JSON.stringify(policy));
    const ended = await work("custom", "x", "--command", "./my-agent x", "--policy", path);
    expect(ended).toMatchObject({ code: 3 });
  });

  it("has rows in the doctor", async () => {
    const { documents } = await installation.json(["agent", "doctor"]);
    const row = (name: string): Json | undefined => documents.find((one) => one["agent"] === name);
    expect(row("acp")).toMatchObject({ state: "named", proof: "asked", hooks: null, tested: null });
    expect(row("custom")).toMatchObject({ state: "named", proof: "none", version: null });
    expect(row("opencode")).toMatchObject({ proof: "proved", tested: "1.18.33 to 1.18.33" });
  });
});
