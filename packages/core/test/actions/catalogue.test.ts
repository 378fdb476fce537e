import { describe, expect, it } from "vitest";
import {
  ACTIONS,
  isKnownOperation,
  operationType,
  policyFace,
  requestWord,
} from "../../src/index.ts";

const forms = Object.entries(ACTIONS).flatMap(([type, { request }]) =>
  request === null ? [] : [{ type, words: [type, ...request.words] }],
);

describe("the catalogue of actions", () => {
  it("gives each word of a request to one type", () => {
    const words = forms.flatMap((form) => form.words);
    expect(new Set(words).size).toBe(words.length);
    for (const { type, words: own } of forms) {
      for (const word of own) expect(operationType(word)).toBe(type);
      expect(isKnownOperation(type)).toBe(true);
    }
  });

  it("plans what its effect takes", () => {
    const edits = [{ search: "x", replace: "y" }];
    const task = { agent: "a", task: "x", model: "m" };
    const asked = { path: "a", content: "x", patch: "x", argv: ["ls"], from: "b", edits, ...task };
    for (const [type, { params, request }] of Object.entries(ACTIONS)) {
      if (request === null || request.plan === null) continue;
      const names = type === "command.run" ? ["argv"] : ["path"];
      if (type === "agent.run") names.splice(0, 1, ...Object.keys(task));
      if (type === "file.write" || type === "file.update") names.push("content");
      if (type === "file.patch") names.push("patch");
      if (type === "file.edit") names.push("edits");
      if (type === "file.rename") names.push("from");
      const given = Object.fromEntries(
        Object.entries(asked).filter(([name]) => names.includes(name)),
      );
      const planned = request.plan(given, type, "here");
      expect(params.safeParse({ ...planned.params, before: "a".repeat(40) }).success).toBe(true);
    }
  });

  it("knows no type of another, no property of an object and no type of the runtime's own", () => {
    for (const word of ["toString", "__proto__", "launch_rocket", "git_branch", "model.train"]) {
      expect(operationType(word)).toMatch(/^unknown\./);
      expect(requestWord(word)).toBeNull();
      expect(isKnownOperation(word)).toBe(false);
    }
    expect(policyFace("constructor")).toEqual({ matches: "resource" });
  });
});
