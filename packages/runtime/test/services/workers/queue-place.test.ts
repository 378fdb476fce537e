import { parseFormat } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { contentPlaceOf } from "../../../src/contents/index.ts";
import { content } from "../../../src/home/config.ts";
import type { Installation } from "../../../src/installation/index.ts";
import { checkPlan, parsePlan } from "../../../src/planning/index.ts";
import type { SandboxDemands } from "../../../src/sandbox/index.ts";
import { findSkill } from "../../../src/skills/index.ts";
import {
  carriersText,
  placeInQueue,
  sharedPlaceOf,
} from "../../../src/services/workers/queue-place.ts";

const node = { id: "nod_here" } as Installation["node"];
const url = "https://api.example.org/";
const CALL = { id: "call", skill: "http_call", with: { url } };
const EVERYWHERE = { contents: "database", role: "runner" };

const config = { scram: { minimum_level: "G2", require_memory_controller: false } } as const;
const PLAIN: SandboxDemands = { minimumLevel: "G2", backend: "bubblewrap" };

function carriersOf(
  steps: readonly object[],
  contentPlace: string | null = "database",
  demands = PLAIN,
): object {
  const plan = parsePlan({ steps }, "the plan");
  const checked = checkPlan(plan, undefined, (given) => ({ with: given, skill: findSkill("own") }));
  const goal = { role: "runner", steps: checked.steps, demands };
  return placeInQueue({ node, contentPlace, config }, goal, 0).carriers;
}

describe("a goal that waits", () => {
  it.each([
    ["calls without a secret", [CALL]],
    ["a value that the tenant keeps", [{ id: "keep", skill: "kv_store", with: KEEP() }]],
  ])("is for workers of every folder with its contents: %s", (_what, steps) => {
    expect(carriersOf(steps)).toEqual(EVERYWHERE);
  });

  it.each([
    [
      "a secret",
      { skill: "http_call", with: { url, headers: { a: "${{ secrets.KEY }}" } } },
      /KEY/,
    ],
    ["a skill of its own", { skill: "own", with: { name: "word_count" } }, /skill of its own/],
    [
      "a model",
      { skill: "llm_invoke", with: { vendor: "local", model: "one", prompt: "hello" } },
      /key of the model/,
    ],
  ])("stays where one of its steps needs %s", (_what, step, why) => {
    const found = carriersOf([CALL, { id: "other", ...step }]);
    expect(found).toMatchObject({ node: "nod_here", stays: expect.stringMatching(why) as string });
    expect(found).toMatchObject({ stays: expect.stringContaining("other") as string });
  });

  it("stays where nobody else reaches its contents", () => {
    const found = carriersOf([CALL], null);
    expect(found).toEqual({ node: "nod_here", stays: "its policy and its artifacts" });
  });

  it("stays where its policy asks for another sandbox than workers make sure of", () => {
    const others = [
      { minimumLevel: "G3" },
      { minimumLevel: "G0" },
      { backend: "container" },
    ] as const;
    for (const other of others) {
      const found = carriersOf([CALL], "database", { ...PLAIN, ...other });
      expect(found).toEqual({ node: "nod_here", stays: "the sandbox that its policy asks for" });
    }
  });

  it.each([
    ["G2", false, "database"],
    // Goals have at least G2, whatever a node's settings let others have.
    ["G0", false, "database"],
    ["G3", false, "database, sandbox G3"],
    ["G2", true, "database, a memory controller"],
    ["G3", true, "database, sandbox G3, a memory controller"],
  ] as const)("is confined as by the settings of its node: %s, %j", (level, isCounted, place) => {
    const scram = { minimum_level: level, require_memory_controller: isCounted };
    const submitter = { contentPlace: "database", config: { scram } };
    expect(sharedPlaceOf(submitter)).toBe(place);
    const goal = { role: "runner", steps: [], demands: PLAIN };
    const { carriers } = placeInQueue({ node, ...submitter }, goal, 0);
    expect(carriers).toEqual({ contents: place, role: "runner" });
  });

  it("is told people as it is", () => {
    expect(carriersText({ node: "nod_here", stays: "its files" })).toBe(
      "those of node nod_here alone, which has its files",
    );
    expect(carriersText(EVERYWHERE)).toContain("contents in database and a key of the role runner");
  });

  it("has a priority from -100 to 100", () => {
    const goal = { role: "runner", steps: [], demands: PLAIN };
    for (const priority of [-101, 101, 0.5, Number.NaN]) {
      expect(() => placeInQueue({ node, contentPlace: null, config }, goal, priority)).toThrow(
        expect.objectContaining({ code: "ERR_REQUEST_INVALID" }),
      );
    }
  });
});

describe("the place of contents", () => {
  it.each([
    [{}, "database"],
    [{ store: "none" }, null],
    [{ store: "folder", folder: "/mnt/shared" }, "folder /mnt/shared"],
    [
      { store: "s3", endpoint: "https://s3.example.org/", bucket: "sovereign", prefix: "runs/" },
      "s3 https://s3.example.org/sovereign/runs/",
    ],
  ])("is named alike by whoever uses it: %j", (given, name) => {
    const parsed = parseFormat(content, given, "content");
    expect(contentPlaceOf({ content: parsed, shared: true })).toBe(name);
    // Nobody else has a queue in a database of one's own.
    expect(contentPlaceOf({ content: parsed, shared: false })).toBeNull();
  });
});

function KEEP(): object {
  return { operation: "put", key: "k", value: 1 };
}
