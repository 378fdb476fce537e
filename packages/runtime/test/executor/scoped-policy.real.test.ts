import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8Encode, type WorkScope } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  inspectRepository,
  readHead,
  ScopedPolicy,
  workLimits,
  Workspace,
} from "../../src/executor/index.ts";
import { parsePolicy, PolicyEngine } from "../../src/policy/index.ts";
import { TestRepository } from "./support/repository.ts";

const POLICY = parsePolicy(
  utf8Encode(
    JSON.stringify({
      policy_id: "wide",
      schema_version: "1.0.0",
      allowlist: {
        file_operations: ["read_file", "write_file", "update_file", "delete_file"],
        paths: ["**"],
        commands: [],
      },
    }),
  ),
  "policy.json",
);
const SCOPE: WorkScope = { allowed_directories: ["src"], forbidden_paths: ["src/gen", "*.pem"] };

let repository: TestRepository;
let folder: string;
beforeEach(() => {
  repository = new TestRepository({ "a.txt": "a\n", "src/a.txt": "a\n" });
  folder = mkdtempSync(join(tmpdir(), "sov-scope-"));
});
afterEach(() => {
  repository.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const context = {
  tenant_id: "default",
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step_01.agent",
  attempt: 1,
  role: "executor",
  mode: "sovereign",
  config_digest: "0".repeat(64),
  policy_digest: POLICY.digest,
} as const;

/** What becomes of what a command left in the tree. */
async function harvest(change: (root: string) => void): Promise<string> {
  const user = await inspectRepository(repository.root);
  const head = await readHead(user);
  const policy = new ScopedPolicy(new PolicyEngine(POLICY), SCOPE);
  const space = await Workspace.open(folder, user, head, policy, workLimits(POLICY));
  await space.require(head.tree);
  change(space.root);
  try {
    const { changes } = await space.harvest(head.tree, null, context);
    return changes.map((one) => one.path).join();
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
}

const write =
  (path: string) =>
  (root: string): void => {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), "changed\n");
  };

describe("a task's scope, over what a command left in the tree", () => {
  it("takes what is in it", async () => {
    expect(await harvest(write("src/b.txt"))).toBe("src/b.txt");
  });

  it.each([
    ["a file outside", write("a.txt")],
    ["a new file outside", write("other/b.txt")],
    [
      "a deleted file outside",
      (root: string) => {
        rmSync(join(root, "a.txt"));
      },
    ],
    ["a forbidden file", write("src/gen/b.txt")],
    ["a forbidden ending, in other letters", write("src/deep/KEY.PEM")],
    [
      "a file outside, through a link in it",
      (root: string) => {
        symlinkSync("..", join(root, "src/up"));
        writeFileSync(join(root, "src/up/a.txt"), "changed\n");
      },
    ],
  ])("refuses %s, though policy allows it", async (_what, change) => {
    const found = await harvest(change);
    expect(found).toMatch(/^ERR_CHANGE_REFUSED: .*task's/);
  });

  it("allows nothing that the policy denies, and leaves what only looks alone", () => {
    const policy = new ScopedPolicy(new PolicyEngine(POLICY), SCOPE);
    const decide = (type: string, resource: string): string =>
      policy.decide({ type, resource, params: {} }, context).effect;
    expect(decide("file.read", "a.txt")).toBe("allow");
    expect(decide("file.write", "src/b.txt")).toBe("allow");
    expect(decide("file.write", "a.txt")).toBe("deny");
    expect(decide("file.write", "../src/b.txt")).toBe("deny");
    expect(decide("http.call", "example.org")).toBe("deny");
  });
});
