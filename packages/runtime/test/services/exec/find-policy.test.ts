import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { findPolicy } from "../../../src/services/exec/find-policy.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "sov-policy-"));
  mkdirSync(join(root, ".git"));
  mkdirSync(join(root, "packages/a"), { recursive: true });
});

describe("the policy that holds", () => {
  it("is the file that is named, whatever the repository has", () => {
    expect(findPolicy(root, "other.yaml")).toBe("other.yaml");
  });

  it("is the repository's own, from any folder of it", () => {
    mkdirSync(join(root, ".sovereign"));
    writeFileSync(join(root, ".sovereign/policy.yaml"), "");
    expect(findPolicy(join(root, "packages/a"), undefined)).toBe(
      join(root, ".sovereign/policy.yaml"),
    );
  });

  it("is missing with what to type", () => {
    expect(() => findPolicy(root, undefined)).toThrow(/sovereign init/);
    rmSync(join(root, ".git"), { recursive: true });
    expect(() => findPolicy(root, undefined)).toThrow(/no git repository/);
    expect(() => findPolicy(join(root, "nowhere"), undefined)).toThrow(/no git repository/);
  });

  it.each(["file", "folder"])("is no link that the repository brought (%s)", (kind) => {
    writeFileSync(join(root, "policy.yaml"), "");
    if (kind === "folder") symlinkSync(".", join(root, ".sovereign"));
    else {
      mkdirSync(join(root, ".sovereign"));
      symlinkSync("../policy.yaml", join(root, ".sovereign/policy.yaml"));
    }
    expect(() => findPolicy(root, undefined)).toThrow(/plain file of yours/);
  });

  it("is no folder", () => {
    mkdirSync(join(root, ".sovereign/policy.yaml"), { recursive: true });
    expect(() => findPolicy(root, undefined)).toThrow(
      expect.objectContaining({ code: "ERR_POLICY_MISSING" }),
    );
  });
});
