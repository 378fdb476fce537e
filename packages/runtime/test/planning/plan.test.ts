import { canonicalize, type JsonValue, SovereignError, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import {
  type CheckedPlan,
  type CheckedStep,
  checkPlan,
  parsePlan,
  planWithStub,
  readPlanFile,
  resolveReferences,
  runSchedule,
} from "../../src/planning/index.ts";

const URL = "https://api.example.org/x";
const call = (id: string, more: object = {}): object => ({
  id,
  skill: "http_call",
  with: { url: URL },
  ...more,
});
const check = (steps: readonly object[], more: object = {}): CheckedPlan =>
  checkPlan(parsePlan({ steps, ...more }, "plan"));

function codeOf(work: () => unknown): { code: string; message: string } {
  try {
    work();
  } catch (error) {
    if (error instanceof SovereignError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("it was taken");
}

describe("a plan is refused", () => {
  const reference = (text: string): object => call("b", { with: { url: text } });
  it.each<[string, readonly object[], string]>([
    [
      "with a cycle",
      [call("a", { needs: ["b"] }), call("b", { needs: ["a"] })],
      "ERR_PLAN_INVALID",
    ],
    ["with a step that needs itself", [call("a", { needs: ["a"] })], "ERR_PLAN_INVALID"],
    [
      "with a cycle by reference",
      [reference("${{ steps.c.output.json }}"), call("c", { needs: ["b"] })],
      "ERR_PLAN_INVALID",
    ],
    ["with a need that is no step", [call("a", { needs: ["z"] })], "ERR_PLAN_INVALID"],
    ["with one id twice", [call("a"), call("a")], "ERR_PLAN_INVALID"],
    ["without steps", [], "ERR_PLAN_INVALID"],
    ["with an unknown field", [call("a", { run: "rm" })], "ERR_PLAN_INVALID"],
    [
      "with too many steps",
      Array.from({ length: 201 }, (_, at) => call(`s${at}`)),
      "ERR_PLAN_INVALID",
    ],
    ["with an unknown skill", [{ id: "a", skill: "shell" }], "ERR_SKILL_UNKNOWN"],
    ["with a skill of every object", [{ id: "a", skill: "constructor" }], "ERR_SKILL_UNKNOWN"],
    ["with a wrong type", [call("a", { with: { url: 7 } })], "ERR_SKILL_INPUT"],
    ["without what the skill needs", [call("a", { with: {} })], "ERR_SKILL_INPUT"],
    [
      "with more than the skill takes",
      [call("a", { with: { url: URL, x: 1 } })],
      "ERR_SKILL_INPUT",
    ],
    [
      "with a wrong type beside a reference",
      [call("a"), call("b", { with: { url: "${{ steps.a.output.body }}", method: "BREW" } })],
      "ERR_SKILL_INPUT",
    ],
    [
      "with an input of the plan of a wrong type",
      [call("a", { with: { url: "${{ inputs.n }}" } })],
      "ERR_SKILL_INPUT",
    ],
    ["with a reference to no step", [reference("${{ steps.z.output.x }}")], "ERR_PLAN_REFERENCE"],
    ["with a reference to itself", [reference("${{ steps.b.output.x }}")], "ERR_PLAN_REFERENCE"],
    ["with a reference to no input", [reference("${{ inputs.none }}")], "ERR_PLAN_REFERENCE"],
    [
      "with a secret in a header",
      [call("a", { with: { url: URL, headers: { Authorization: "t" } } })],
      "ERR_SKILL_INPUT",
    ],
    [
      "with a user in the address",
      [call("a", { with: { url: "https://u:p@example.org/" } })],
      "ERR_SKILL_INPUT",
    ],
    [
      "with a retry of what may happen twice",
      [call("a", { with: { url: URL, method: "POST" }, retry: { max: 2 } })],
      "ERR_PLAN_INVALID",
    ],
  ])("%s", (_, steps, code) => {
    expect(codeOf(() => check(steps, { inputs: { n: 7 } })).code).toBe(code);
  });

  it.each([
    "${{ steps.a.output.x || process.exit() }}",
    "${{ ${{ inputs.n }} }}",
    "${{ inputs.n",
    "${{ inputs.__proto__ }}x",
    "${{ steps.a.output.constructor.constructor('return 1')() }}",
    "${{ steps['a'].output }}",
    "${{ secrets.TOKEN }}",
    "${{ env.HOME }}",
    "${{}}",
  ])("with the template %s", (url) => {
    const { code } = codeOf(() => check([call("a"), reference(url)], { inputs: { n: 7 } }));
    expect(code).toBe("ERR_PLAN_REFERENCE");
  });

  it("with more bytes than a plan may have, and with what is no plain YAML", () => {
    const large = utf8Encode(`steps: []\n#${"x".repeat(300_000)}`);
    expect(codeOf(() => readPlanFile(large, "p.yaml")).code).toBe("ERR_PLAN_INVALID");
    const aliased = utf8Encode("steps: &a [1]\ninputs: *a\n");
    expect(codeOf(() => readPlanFile(aliased, "p.yaml")).message).toContain("p.yaml:1");
  });
});

describe("a plan", () => {
  it("needs what it refers to, and says so in its canonical form", () => {
    const { steps } = check([
      call("b", { with: { url: "https://example.org/${{ steps.a.output.status }}" } }),
      call("a"),
    ]);
    expect(steps.map(({ id, needs }) => [id, needs])).toEqual([
      ["b", ["a"]],
      ["a", []],
    ]);
  });

  it("is made by the stub of a goal with an address, the same each time, and of no other", () => {
    const goal = `Look at ${URL}, and tell me.`;
    expect(planWithStub(goal)).toEqual(planWithStub(goal));
    expect(planWithStub(goal).steps).toMatchObject([{ skill: "http_call", with: { url: URL } }]);
    expect(codeOf(() => planWithStub("Be good.")).code).toBe("ERR_PLAN_MISSING");
  });
});

describe("a reference", () => {
  const outputs = new Map<string, JsonValue>([
    ["a", { json: { list: [1, { name: "x" }], text: "${{ inputs.n }}" } }],
  ]);
  const known = { inputs: { n: 7, who: "me" }, outputs };
  const resolve = (value: JsonValue): JsonValue => resolveReferences(value, known, "b");

  it("alone becomes the value, and within a text its text", () => {
    expect(resolve("${{ steps.a.output.json.list[1] }}")).toEqual({ name: "x" });
    expect(resolve({ to: ["${{inputs.who}}: ${{ inputs.n }}"] })).toEqual({ to: ["me: 7"] });
  });

  it("puts in what is not looked at again", () => {
    expect(resolve("${{ steps.a.output.json.text }}")).toBe("${{ inputs.n }}");
    expect(resolve("<${{ steps.a.output.json.text }}>")).toBe("<${{ inputs.n }}>");
  });

  it.each([
    "${{ steps.a.output.json.none }}",
    "${{ steps.a.output.json.list[9] }}",
    "${{ steps.a.output.json.list.length }}",
    "${{ steps.a.output.toString }}",
    "${{ inputs.constructor }}",
    "a ${{ steps.a.output.json }}",
  ])("that leads to nothing is refused: %s", (text) => {
    expect(codeOf(() => resolve(text)).code).toBe("ERR_PLAN_REFERENCE");
  });
});

describe("what references come to", () => {
  const outputs = new Map<string, JsonValue>([["a", { list: Array<JsonValue>(5000).fill(1) }]]);
  const many = (text: string, times: number): JsonValue => Array<JsonValue>(times).fill(text);
  const transform = (data: JsonValue): object => {
    return { id: "b", skill: "json_transform", with: { expression: "1", data } };
  };

  // Each of these took minutes, in which the whole process did nothing else.
  it.each<[string, object]>([
    ["an input of the plan", transform(many("${{inputs.b}}", 12_000))],
    ["an input in a text", transform(many("${{inputs.t}}${{inputs.t}}", 12_000))],
    ["secrets under a long name", transform({ [`k${"k".repeat(250_000)}`]: manySecrets(9000) })],
  ])("is no more than an action takes: %s", { timeout: 10_000 }, (_, step) => {
    const inputs = { b: Array(100_000).fill(1), t: "t".repeat(9000) };
    const { code, message } = codeOf(() => check([step], { inputs }));
    expect([code, message]).toEqual(["ERR_PLAN_REFERENCE", expect.stringContaining("24576 bytes")]);
  });

  it("is no more when the run has come to it", () => {
    const resolve = (times: number): JsonValue =>
      resolveReferences(many("${{steps.a.output.list}}", times), { inputs: {}, outputs }, "b");
    expect(codeOf(() => resolve(100_000)).code).toBe("ERR_PLAN_REFERENCE");
    expect(resolve(2)).toEqual([Array(5000).fill(1), Array(5000).fill(1)]);
  });

  it("counts what an action has, and no more", () => {
    const empty = canonicalize({ x: ["a".repeat(20_000), ""] }).length;
    const known = { inputs: { rest: "b".repeat(24 * 1024 - empty) }, outputs: null };
    const given = { x: ["a".repeat(20_000), "${{inputs.rest}}"] };
    expect(canonicalize(resolveReferences(given, known, "b"))).toHaveLength(24 * 1024);
  });
});

function manySecrets(count: number): JsonValue {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => [`h${at}`, "${{secrets.A}}"]));
}

describe("a schedule", () => {
  const steps = check([
    ...["a", "b", "c", "d"].map((id) => call(id)),
    call("e", { needs: ["a", "b", "c", "d"] }),
    call("f", { needs: ["e"] }),
  ]).steps;

  it("does side by side what may, up to its limit, and each step after what it needs", async () => {
    const done: string[] = [];
    let running = 0;
    let most = 0;
    await runSchedule(steps, 3, async ({ id }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      done.push(id);
      return "completed";
    });
    expect(most).toBe(3);
    expect(done.slice(-2)).toEqual(["e", "f"]);
    expect([...done].sort()).toEqual(["a", "b", "c", "d", "e", "f"]);
  });

  it("begins nothing after a failure, and waits for what runs", async () => {
    const begun: string[] = [];
    const ended: string[] = [];
    const work = async ({ id }: CheckedStep): Promise<"completed"> => {
      begun.push(id);
      if (id === "a") throw new Error("no");
      await new Promise((resolve) => setImmediate(resolve));
      ended.push(id);
      return "completed";
    };
    await expect(runSchedule(steps, 2, work)).rejects.toThrow("no");
    expect(begun).toEqual(["a", "b"]);
    expect(ended).toEqual(["b"]);
  });

  it("tells a step that what it needs was left out", async () => {
    const told: string[] = [];
    await runSchedule(steps, 4, ({ id }, needsSkipped) => {
      if (needsSkipped) told.push(id);
      return Promise.resolve(id === "a" || needsSkipped ? "skipped" : "completed");
    });
    expect(told).toEqual(["e", "f"]);
  });
});
