import { readFileSync } from "node:fs";
import { join } from "node:path";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DIALECTS } from "../../../../../examples/agent/dialects.ts";
import { ScriptedModel, type ScriptedTurn } from "../../../../../examples/agent/scripted-model.ts";
import { type CliEnd, Installation, type Json } from "../../../../../test/e2e/cli.ts";
import { VendorStore } from "../../../src/agents/index.ts";
import { agentsFolder } from "../../../src/services/agents/agents-folder.ts";
import { TestRepository } from "../../executor/support/repository.ts";
import { ADDED_AT, CANARY } from "../../support/model-rig.ts";
import { SmallDisk } from "../../support/small-disk.ts";
import { agentsOf, textOf } from "./support/killed-rig.ts";

const disk = SmallDisk.mount(512);
const installation = new Installation();
const home = disk?.path ?? installation.home;
const { write, vendor: about } = DIALECTS["claude"]!;
let repository: TestRepository;
let model: ScriptedModel;
let turns: (() => ScriptedTurn)[] = [];

const call = (...words: string[]): Promise<CliEnd> =>
  installation.run([...words, "--json"], {
    SOVEREIGN_HOME: home,
    SOVEREIGN_AGENTS: agentsFolder(process.env),
  });
const work = (): Promise<CliEnd> =>
  call("agent", "run", "claude", "Make a file", "--repo", repository.root);

function linesOf({ out }: CliEnd): Json[] {
  const lines = out.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Json);
}

beforeAll(async () => {
  repository = new TestRepository({ "a.txt": "a\n" });
  model = await ScriptedModel.start({
    key: CANARY,
    script: () => turns.shift()?.() ?? { text: "done" },
  });
  const vendor = { name: "scripted", baseUrl: model.url, price: null, key: CANARY, ...about };
  await new VendorStore(join(home, "models"), null).add(vendor, ADDED_AT, false);
});
afterAll(async () => {
  await model.close();
  repository.dispose();
  disk?.unmount();
  await installation.dispose();
});

describe.skipIf(disk === null)("a disk that fills amid an agent's work (root alone)", () => {
  it("ends the run plainly, loses no record, and lets the next one work", async () => {
    turns = [() => write("b.txt", "b")];
    const before = await work();
    expect(before.code, before.err).toBe(0);
    const state = repository.state();
    turns = [
      () => write("c.txt", "c"),
      () => {
        disk?.fill(0);
        return write("d.txt", "d");
      },
    ];
    const ended = await work();
    expect(ended.code).toBe(1);
    expect(ended.err + ended.out).toMatch(/ERR_[A-Z_]+|ENOSPC/);
    expect(ended.err).not.toMatch(/^\s+at /m);
    expect(agentsOf(home, "claude")).toEqual([]);
    expect(repository.state()).toEqual(state);
    disk?.empty();
    turns = [() => write("e.txt", "e")];
    const after = await work();
    expect(after.code, after.err).toBe(0);
    // It says what to do, and that is enough.
    const cut = linesOf(await call("agent", "list")).find(({ reason }) =>
      textOf(reason).endsWith("Make room, then resume the run."),
    );
    const resumed = await call("agent", "resume", textOf(cut?.["run"]));
    expect(resumed.code, resumed.err).toBe(0);
    const all = linesOf(await call("agent", "list"));
    expect(all).toHaveLength(3);
    for (const run of all.map((one) => textOf(one["run"]))) {
      // One that waits for review has its evidence once it was looked into.
      await call("agent", "discard", run);
      const read = (name: string): Buffer => readFileSync(join(home, "runs", run, name));
      const bundle = read("compliance_bundle.json");
      const trustRoot = read("trust-root.json");
      expect(verifyBundle(bundle, { trustRoot })).toMatchObject({ verdict: "VALID" });
    }
    const log = join(installation.home, "audit.jsonl");
    await call("audit", "export", "--log", "default", "--out", log);
    expect(linesOf(await call("verify-audit", log))).toMatchObject([{ verdict: "CONSISTENT" }]);
  });
});
