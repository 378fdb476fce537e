import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { canonicalBytes, digestOf } from "@sovereign/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RunRow } from "../../../src/runs/index.ts";
import type { RunOptions } from "../../../src/services/runs/lifecycle.ts";
import { PIPELINE } from "../../../src/services/runs/pipeline-kind.ts";

const RUN = `run_${"a".repeat(20)}`;
let runs: string;

beforeAll(() => {
  runs = mkdtempSync(join(tmpdir(), "sov-kind-"));
  mkdirSync(join(runs, RUN));
});
afterAll(() => {
  rmSync(runs, { recursive: true });
});

it("a pipeline that is gone on with sees the libraries that its plan names, and no others", async () => {
  const options = {
    installation: { folder: { run: (runId: string) => join(runs, runId) } },
  } as unknown as RunOptions;
  const input = {
    pipeline: resolve("examples/iron-path/pipeline.yaml"),
    mode: "sovereign",
    faults: [],
  } as const;
  const hold = await PIPELINE.hold(options, RUN, input);
  const frozen = await PIPELINE.freeze(options, input, join(runs, RUN), hold);
  expect(frozen.modules).toBe(resolve("node_modules"));
  // What stands in the run's folder gives no program a folder of the machine to read.
  writeFileSync(join(runs, RUN, "modules.txt"), "/etc");
  const row = { runId: RUN, plan: canonicalBytes(frozen.plan) } as unknown as RunRow;
  const opened = await PIPELINE.open(options, row);
  expect(opened.modules).toBe(frozen.modules);
  expect(digestOf(opened.plan)).toBe(digestOf(frozen.plan));
});

it.each([
  ["presets: [node]", /names presets, which a pipeline does not have/],
  ["mounts: [{ path: ~/.ssh }]", /names mounts, which a pipeline/],
])("a pipeline refuses a policy whose tools it would leave out: %s", async (line, text) => {
  const folder = mkdtempSync(join(runs, "tools-"));
  cpSync(resolve("examples/iron-path"), folder, { recursive: true });
  const [policy = ""] = readdirSync(folder).filter((name) => /^policy\.ya?ml$/.test(name));
  appendFileSync(join(folder, policy), `\n${line}\n`);
  const options = {} as RunOptions;
  const input = { pipeline: join(folder, "pipeline.yaml"), mode: "sovereign", faults: [] } as const;
  const hold = await PIPELINE.hold(options, RUN, input);
  const place = mkdtempSync(join(runs, "frozen-"));
  await expect(PIPELINE.freeze(options, input, place, hold)).rejects.toThrow(text);
});
