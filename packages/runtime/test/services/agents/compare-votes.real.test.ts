import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Hex, utf8Encode, type GateResult } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../../src/authority/index.ts";
import { formatPatch, inspectRepository } from "../../../src/executor/index.ts";
import { Git } from "../../../src/executor/git/index.ts";
import { type Installation, openInstallation } from "../../../src/installation/index.ts";
import { parsePolicy } from "../../../src/policy/index.ts";
import {
  compareKind,
  type CompareProgram,
} from "../../../src/services/agents/compare/compare-kind.ts";
import { submitRun } from "../../../src/services/runs/lifecycle.ts";
import { TestRepository } from "../../executor/support/repository.ts";
import { copyCluster } from "../../support/prepared.ts";

const VALIDATORS = ["validator_1", "validator_2", "validator_3"];
const POLICY = {
  policy_id: "compare",
  schema_version: "1.0.0",
  operations: [{ type: "agent.judge", resources: ["validator_*"] }],
  allowlist: {
    file_operations: ["write_file"],
    paths: ["*.txt"],
    commands: [{ id: "grep", executable: "grep", allowed_args: ["**"] }],
  },
};

let home: string;
let repository: TestRepository;
let installation: Installation;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "votes-"));
  copyCluster(join(home, "postgres"));
  repository = new TestRepository({ "a.txt": "a\n" });
  const environment = { PATH: process.env["PATH"] };
  installation = await openInstallation({ home, databaseUrl: null, passphrase: null, environment });
  await installation.keyLog.initialise(installation.keystore, [
    ...INSTALLATION_KEYS,
    ...VALIDATORS.map((role) => ({ purpose: "role", role }) as const),
  ]);
});
afterAll(async () => {
  await installation.close();
  repository.dispose();
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

/** A commit on the base as an agent's run would hand it over, on a branch of its own. */
async function resultOf(branch: string, path: string, content: string, lie?: string) {
  repository.git("checkout", "-q", "-b", branch, "main");
  repository.write(path, content);
  const commit = repository.commit("work");
  const git = new Git({ gitDir: join(repository.root, ".git") });
  const bytes = lie === undefined ? await formatPatch(git, commit) : utf8Encode(lie);
  const tree = repository.git("rev-parse", `${commit}^{tree}`);
  repository.git("checkout", "-q", "main");
  return { commit, tree, patch: sha256Hex(bytes), bytes };
}

/** Of one run a gate does not hold; what is judged later does not apply yet. */
function gatesOf(run: string): GateResult[] {
  return ["TL-A", "TL-B", "TL-C", "TL-D", "TL-E", "TL-F"].map((gate) => {
    const told = { gate, message: "the work does not keep to its scope", evidence: [] };
    if (gate === "TL-B" || gate === "TL-F") return { ...told, verdict: "not_applicable" };
    return { ...told, verdict: run === "run_4" && gate === "TL-D" ? "fail" : "pass" };
  });
}

it("votes on each result are counted, refused for what validators find, and VALID in the bundle", async () => {
  const base = repository.git("rev-parse", "main");
  const results = [
    await resultOf("good", "b.txt", "right\n"),
    await resultOf("failing", "b.txt", "wrong\n"),
    await resultOf("outside", "b.js", "right\n"),
    await resultOf("lying", "b.txt", "right too\n", "another patch\n"),
    await resultOf("gated", "b.txt", "right as well\n"),
    null,
  ];
  const program: CompareProgram = {
    results: [],
    chosen: null,
    candidate: (index) => {
      const run = `run_${String(index)}`;
      const found = results[index] ?? null;
      const result = found === null ? null : { run, ...found };
      return Promise.resolve({ run, result, code: null });
    },
    gates: (run) => Promise.resolve(gatesOf(run)),
  };
  const ended = await submitRun(
    compareKind(program),
    {
      installation,
      tenantId: "default",
      approvers: [],
      allowCompatible: false,
      signal: new AbortController().signal,
      onProgress: () => undefined,
      waitMs: 0,
    },
    {
      task: "Write right into b.txt",
      contenders: results.map((_, index) => ({ agent: `agent-${index}`, model: "m" })),
      validators: VALIDATORS,
      verify: [["grep", "-q", "right", "b.txt"]],
      repository: await inspectRepository(repository.root),
      base,
      policy: parsePolicy(utf8Encode(JSON.stringify(POLICY)), "policy.json"),
      mode: "sovereign",
    },
  );
  const trustRoot = readFileSync(ended.trustRoot ?? "");
  const report = verifyBundle(readFileSync(ended.bundle ?? ""), { trustRoot, level: "sovereign" });
  expect(report.steps.map(({ first_failure }) => first_failure)).toEqual(
    report.steps.map(() => null),
  );
  expect(program.results.map(({ status, findings }) => [status, findings])).toEqual([
    ["SOVEREIGN_CONSENSUS_REACHED", []],
    ["SOVEREIGN_CONSENSUS_REFUSED", ["grep -q right b.txt: ERR_COMMAND_FAILED"]],
    [
      "SOVEREIGN_CONSENSUS_REFUSED",
      ["policy does not allow that b.js is added", "grep -q right b.txt: ERR_COMMAND_FAILED"],
    ],
    ["SOVEREIGN_CONSENSUS_REFUSED", ["the patch is not the one that the agent's run recorded"]],
    ["SOVEREIGN_CONSENSUS_REFUSED", ["TL-D: the work does not keep to its scope"]],
    [null, ["it came to no result (nothing changed)"]],
  ]);
  expect(program.chosen).toBe("run_0");
  expect(ended.status).toBe("completed");
  expect(report.verdict).toBe("VALID");
  expect(repository.git("rev-parse", "main")).toBe(base);
});
