import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ComplianceBundle, JsonObject } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  ScriptedModel,
  type ScriptedRequest,
  type ScriptedTurn,
} from "../../../../../examples/agent/scripted-model.ts";
import { VendorStore } from "../../../src/agents/index.ts";
import { createServices } from "../../../src/services/index.ts";
import { agentsFolder } from "../../../src/services/agents/agents-folder.ts";
import { TestRepository } from "../../executor/support/repository.ts";
import { ADDED_AT, CANARY, scriptedVendor } from "../../support/model-rig.ts";
import { copyCluster } from "../../support/prepared.ts";

const [GOOD, BAD] = ["claude-sonnet-4-5", "claude-haiku-4-5"] as const;

let home: string;
let repository: TestRepository;
let model: ScriptedModel;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "compare-"));
  copyCluster(join(home, "postgres"));
  mkdirSync(home, { recursive: true, mode: 0o700 });
  repository = new TestRepository({ "a.txt": "a\n" });
  model = await ScriptedModel.start({ script: workOf, key: CANARY });
  await new VendorStore(join(home, "models"), null).add(scriptedVendor(model.url), ADDED_AT, false);
});
afterEach(async () => {
  await model.close();
  repository.dispose();
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

const write = (path: string, content: string): ScriptedTurn => ({
  tools: [{ name: "Write", input: { file_path: `/workspace/${path}`, content } }],
});

/** Each model does the task in its own way: one of them well. */
function workOf({ body }: ScriptedRequest): ScriptedTurn {
  const told = (body["messages"] as JsonObject[]).filter(({ role }) => role === "assistant").length;
  if (told > 0) return { text: "done" };
  if (body["model"] === GOOD) return write("b.txt", "right\n");
  return write("b.txt", "wrong\n");
}

/** A bound on what hangs: each agent is a process of a quarter of a gigabyte. */
const PATIENCE_MS = 600_000;

test(
  "several agents do one task apart, validators vote by key, and the good result is chosen",
  async () => {
    const state = repository.state();
    const services = createServices({
      PATH: process.env["PATH"],
      HOME: home,
      SOVEREIGN_HOME: home,
      SOVEREIGN_AGENTS: agentsFolder(process.env),
    });
    const input = {
      tenantId: "default",
      approvers: [],
      signal: new AbortController().signal,
      waitMs: 0,
      onProgress: () => undefined,
    };
    const compared = await services.compareAgents({
      ...input,
      task: "Write right into b.txt",
      contenders: [BAD, GOOD].map((name) => ({ agent: "claude", model: name })),
      validators: 4,
      repository: repository.root,
      policy: undefined,
      role: "executor",
      vendor: null,
      budgetMicrousd: null,
      turnsMax: null,
      timeoutSeconds: 60,
      verify: ["grep -q right b.txt"],
      branch: null,
      command: null,
      scope: [],
      forbid: [],
      review: false,
    });
    expect(compared).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(compared.results.map(({ status, approvals }) => [status, approvals])).toEqual([
      ["SOVEREIGN_CONSENSUS_REFUSED", 0],
      ["SOVEREIGN_CONSENSUS_REACHED", 4],
    ]);
    const [bad, good] = compared.results;
    expect(bad?.findings).toEqual(["grep -q right b.txt: ERR_COMMAND_FAILED"]);
    expect(compared.chosen).toBe(good?.run);
    // Nothing came to the branch, and nothing that validators did is left in the tree.
    expect(repository.state()).toEqual(state);

    const bytes = readFileSync(compared.bundle ?? "");
    const bundle = JSON.parse(bytes.toString()) as ComplianceBundle;
    const ballots = bundle.entries.filter(({ entry }) => entry.event_type.startsWith("consensus."));
    expect(ballots.map(({ entry }) => [entry.data["ballot"], entry.data["quorum"]])).toEqual([
      ["candidate_1", 3],
      ["candidate_2", 3],
    ]);
    // The patches and the verdicts are in it, so that whoever has it counts again.
    const held = bundle.artifacts.filter(({ content }) => content !== undefined);
    expect(held.map(({ name }) => name).filter((name) => name.endsWith(".patch")).length).toBe(2);
    expect(held.filter(({ name }) => name.endsWith(".verdict.json")).length).toBe(8);
    // Each validator judged the gates over the agent's own run; the signed snapshot asked for them.
    const gates = ["TL-A", "TL-B", "TL-C", "TL-D", "TL-E", "TL-F"];
    const verdicts = held.filter(({ name }) => name.endsWith(".verdict.json"));
    for (const { content } of verdicts) {
      const { claims } = JSON.parse(Buffer.from(content ?? "", "base64").toString()) as {
        claims: { gates: { gate: string; verdict: string }[]; acceptance: { gates: string[] } };
      };
      expect(claims.acceptance.gates).toEqual(gates);
      expect(claims.gates.map(({ gate, verdict }) => [gate, verdict])).toEqual([
        ...[
          ["TL-A", "pass"],
          ["TL-B", "not_applicable"],
          ["TL-C", "pass"],
        ],
        ...[
          ["TL-D", "pass"],
          ["TL-E", "pass"],
          ["TL-F", "not_applicable"],
        ],
      ]);
    }
    const trustRoot = readFileSync(compared.trustRoot ?? "");
    const report = verifyBundle(bytes, { trustRoot, level: "sovereign" });
    expect(report.steps.find(({ name }) => name === "attestation")?.details["votes"]).toBe(8);

    const applied = await services.continueAgent(compared.chosen ?? "", {
      ...input,
      decision: "apply",
    });
    expect(applied).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(repository.read("b.txt")).toBe("right\n");
  },
  PATIENCE_MS,
);
