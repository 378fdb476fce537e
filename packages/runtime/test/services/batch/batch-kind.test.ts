import { utf8Encode } from "@sovereign/core";
import { expect, it } from "vitest";
import { parsePolicy } from "../../../src/policy/index.ts";
import { type BatchInput, batchKind } from "../../../src/services/batch/batch-kind.ts";
import type { RunOptions } from "../../../src/services/runs/lifecycle.ts";

it("a batch refuses a policy whose tools it would leave out, before there is a run", async () => {
  const text = `policy_id: a
schema_version: 1.0.0
presets: [node]
mounts: [{ path: ~/sdk }]
`;
  const policy = parsePolicy(utf8Encode(text), "policy.yaml");
  const input = { policy, role: "runner" } as BatchInput;
  const held = batchKind().hold({} as RunOptions, `run_${"a".repeat(20)}`, input);
  await expect(held).rejects.toMatchObject({
    code: "ERR_POLICY_INVALID",
    message: expect.stringMatching(
      /names presets and mounts, which a batch does not have/,
    ) as string,
  });
});
