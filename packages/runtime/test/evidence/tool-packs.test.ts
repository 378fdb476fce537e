import {
  canonicalBytes,
  evaluateGates,
  GATES,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  readGateInputs,
} from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { judge } from "../support/evidence.ts";
import {
  type AgentEvidence,
  type AgentLies,
  agentWorld,
  NAMES,
} from "../support/agent-evidence.ts";

let agent: AgentEvidence;
beforeAll(async () => {
  agent = await agentWorld();
});
afterAll(() => {
  agent.dispose();
});

type Path = readonly (string | number)[];

/** Every place of a document that holds no other. */
function leavesOf(value: JsonValue, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  if (keys.length === 0) return [path];
  return keys.flatMap((key) => leavesOf((value as JsonObject)[key]!, [...path, key]));
}

/** The same document with another value at a place, of the same kind where there is one. */
function lied(value: JsonValue, path: Path): JsonValue {
  const copy = structuredClone(value);
  let holder = copy as JsonObject;
  for (const key of path.slice(0, -1)) holder = holder[key] as JsonObject;
  const last = path.at(-1) as string;
  holder[last] = otherThan(holder[last]!);
  return copy;
}

function otherThan(value: JsonValue): JsonValue {
  if (typeof value === "number") return value + 1;
  if (typeof value === "boolean") return !value;
  if (Array.isArray(value)) return ["x"];
  if (typeof value === "string" && /^[0-9a-f]{40,64}$/.test(value)) return "e".repeat(value.length);
  if (typeof value === "string" && value.startsWith("trpack_")) return "trpack_other";
  if (typeof value === "string" && value.startsWith("ttpack_")) return "ttpack_other";
  if (typeof value === "string") return `${value}x`;
  return value === null ? "x" : {};
}

function document(name: string): JsonValue {
  return parseStrictJson(agent.contents.get(name)!);
}

/** Of each gate of tools, what it says where one document is another. */
function verdicts(name: string, value: JsonValue | null): Map<string, string> {
  const contents = new Map(agent.contents);
  if (value === null) contents.delete(name);
  else contents.set(name, canonicalBytes(value));
  const { results } = evaluateGates(readGateInputs(contents, agent.entries));
  const own = results.filter((one) => one.gate.startsWith("TL-"));
  return new Map(own.map(({ gate, verdict }) => [gate, verdict]));
}

describe("the gates of tools, over a run's real entries", () => {
  it("all pass, and so does every other gate", () => {
    const { status, results } = evaluateGates(agent.inputs());
    expect(results.filter((one) => one.verdict === "fail")).toEqual([]);
    expect(status).toBe("PASS");
    const own = results.filter((one) => one.gate.startsWith("TL-"));
    expect(own.map((one) => `${one.gate} ${one.verdict}`)).toEqual(
      ["A", "B", "C", "D", "E", "F"].map((letter) => `TL-${letter} pass`),
    );
    expect(GATES.slice(-6).map((one) => one.id)).toEqual(own.map((one) => one.gate));
  });

  it("judge no run without a task pack", () => {
    expect(verdicts(NAMES.task, null).size).toBe(0);
  });

  it("fail where any one value of the result pack is another", () => {
    const genuine = document(NAMES.pack);
    const places = leavesOf(genuine);
    expect(places.length).toBeGreaterThan(50);
    const passed = places.filter((path) => {
      const found = verdicts(NAMES.pack, lied(genuine, path));
      return ![...found.values()].includes("fail");
    });
    expect(passed).toEqual([]);
  });

  it("fail where any field of the result pack is left out", () => {
    const genuine = document(NAMES.pack) as JsonObject;
    const passed = Object.keys(genuine).filter((key) => {
      const found = verdicts(NAMES.pack, without(genuine, key));
      return ![...found.values()].includes("fail");
    });
    expect(passed).toEqual([]);
  });

  it("fail by TL-A where any one value of the task pack is another", () => {
    const genuine = document(NAMES.task);
    const passed = leavesOf(genuine).filter(
      (path) => verdicts(NAMES.task, lied(genuine, path)).get("TL-A") !== "fail",
    );
    expect(passed).toEqual([]);
  });

  it.each([
    "tool_task_pack_id",
    "tool_type",
    "repo_state",
    "work_scope",
    "steps",
    "prompt_pack",
    "acceptance",
  ])("fail by TL-A where the task pack has no %s", (key) => {
    const found = verdicts(NAMES.task, without(document(NAMES.task) as JsonObject, key));
    expect(found.get("TL-A")).toBe("fail");
  });

  it.each<[string, string, (pack: JsonObject) => void]>([
    [
      "TL-B",
      "a commit that the executor did not make",
      at("artifacts.commits.0.commit_hash", "f".repeat(40)),
    ],
    ["TL-C", "no diff", at("diffs", [])],
    ["TL-C", "no commit", at("artifacts.commits", [])],
    ["TL-C", "another log", at("test_logs.test_output", "all is well")],
    ["TL-C", "no disagreement", at("disagreements", [])],
    ["TL-D", "no violation", at("policy_attestation.violations", [])],
    ["TL-E", "another version", at("run_metadata.tool_version", "2.1.330")],
    ["TL-E", "another cost", at("run_metadata.cost_usd", 0)],
    ["TL-F", "one approval more", at("reviewer_signoff.approvals", 3)],
  ])("fail by %s where the result pack tells of %s", (gate, _what, change) => {
    const pack = document(NAMES.pack) as JsonObject;
    change(pack);
    expect(verdicts(NAMES.pack, pack).get(gate)).toBe("fail");
  });

  it("say of the agent's own words what is wrong with them", () => {
    const pack = document(NAMES.pack) as JsonObject;
    expect(pack["claims"]).toMatchObject({ output_tokens: 11 });
    expect(pack["disagreements"]).toEqual([
      { field: "version", claimed: "2.1.330", found: "2.1.329" },
      { field: "output_tokens", claimed: 11, found: 10 },
      { field: "cost_usd", claimed: 0.01, found: 0.0003 },
    ]);
  });

  it("fail by TL-C where an expected file was not made", async () => {
    const other = await agentWorld({
      task: (pack) => ({
        ...pack,
        steps: pack.steps.map((one) => ({ ...one, expected_artifacts: ["b.txt", "c.txt"] })),
      }),
    });
    const { results } = evaluateGates(other.inputs());
    const failed = results.filter((one) => one.verdict === "fail");
    expect(failed.map((one) => `${one.gate}: ${one.message}`)).toEqual([
      'TL-C: "c.txt" was not made',
    ]);
    other.dispose();
  });

  it("fail by TL-C where a check of the task has no log", async () => {
    const other = await agentWorld({
      task: (pack) => ({ ...pack, acceptance: { ...pack.acceptance, tests: ["npm test"] } }),
    });
    const { results } = evaluateGates(other.inputs());
    const found = results.find((one) => one.gate === "TL-C");
    expect(found).toMatchObject({ verdict: "fail", message: '"npm test" has no log' });
    other.dispose();
  });

  it("fail by TL-D where a changed file is out of the scope, whatever the pack says", () => {
    const checksums = document(NAMES.checksums) as JsonObject;
    const [step] = checksums["steps"] as JsonObject[];
    (step!["files"] as JsonObject[])[0]!["path"] = "src/b.ts";
    expect(verdicts(NAMES.checksums, checksums).get("TL-D")).toBe("fail");
  });

  it("fail by TL-B where something else changed the repository", () => {
    const proof = document(NAMES.proof) as JsonObject;
    expect(verdicts(NAMES.proof, { ...proof, main_repo_modified: true }).get("TL-B")).toBe("fail");
    const status = { ...proof, main_repo_status_after: "8".repeat(64) };
    expect(verdicts(NAMES.proof, status).get("TL-B")).toBe("fail");
  });
});

describe("evidence with tool packs", () => {
  it("is VALID, with its gates judged again", async () => {
    const bundle = await agent.bundle();
    expect(judge(bundle, agent.made.trustRoot())).toEqual({ verdict: "VALID", failures: {} });
  });

  it.each<[string, string, AgentLies]>([
    ["a receipt that leaves the gates of tools out", "INVALID", { receipt: withoutTools }],
    ["a receipt that says that a failed one passed", "INVALID", { ...failing(), receipt: allPass }],
    ["a receipt that says that one failed", "VALID", failing()],
    ["a result pack that is none", "VALID", { documents: rubbish }],
  ])("with %s is %s", async (_what, verdict, lies) => {
    const other = await agentWorld(lies);
    expect(judge(await other.bundle(), other.made.trustRoot()).verdict).toBe(verdict);
    other.dispose();
  });
});

function failing(): AgentLies {
  return {
    documents: (contents) => {
      const pack = parseStrictJson(contents.get(NAMES.pack)!) as JsonObject;
      contents.set(NAMES.pack, canonicalBytes({ ...pack, diffs: [] }));
    },
  };
}

function rubbish(contents: Map<string, Uint8Array>): void {
  contents.set(NAMES.pack, Buffer.from("no pack"));
}

type Found = ReturnType<typeof evaluateGates>;

function withoutTools({ results }: Found): Found {
  return { status: "PASS", results: results.filter((one) => !one.gate.startsWith("TL-")) };
}

function allPass({ results }: Found): Found {
  return { status: "PASS", results: results.map((one) => ({ ...one, verdict: "pass" as const })) };
}

function without(value: JsonObject, key: string): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
}

function at(path: string, value: JsonValue): (pack: JsonObject) => void {
  return (pack) => {
    const keys = path.split(".");
    let holder = pack;
    for (const key of keys.slice(0, -1)) holder = holder[key] as JsonObject;
    holder[keys.at(-1)!] = value;
  };
}
