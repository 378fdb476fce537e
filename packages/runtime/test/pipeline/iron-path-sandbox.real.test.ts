import { realpathSync } from "node:fs";
import { join } from "node:path";
import { canonicalBytes, digestOf } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type CastVote,
  checkProgramOutput,
  judgeModelClaims,
  judgeVotes,
  parseAgentVerdict,
  type ProgramTask,
} from "../../src/pipeline/index.ts";
import { createSandbox, type SandboxResult } from "../../src/sandbox/index.ts";
import { examplePipeline, ProgramRunner } from "./support/program-runner.ts";

let runner: ProgramRunner;
beforeEach(() => {
  runner = new ProgramRunner(examplePipeline());
});
afterEach(() => {
  runner.close();
});

function runConfined(task: ProgramTask, stdin: Uint8Array): Promise<SandboxResult> {
  const { limits } = task;
  const request = {
    argv: ["/runtime/node", `/program/${task.program}`],
    cwd: "/output",
    readOnly: [
      { source: realpathSync(process.execPath), target: "/runtime/node" },
      { source: join(runner.root, "program"), target: "/program" },
      { source: join(runner.root, "input"), target: "/input" },
      { source: runner.modules, target: "/node_modules" },
    ],
    writable: [{ source: join(runner.root, "output"), target: "/output" }],
    env: {},
    stdin,
    limits: {
      wallMs: limits.wall_ms,
      cpuSeconds: limits.cpu_seconds,
      memoryBytes: limits.memory_bytes,
      processes: limits.processes,
      outputBytes: limits.output_bytes,
      fileBytes: limits.file_bytes,
    },
  };
  return createSandbox().run(request, new AbortController().signal);
}

async function step(stepId: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const task = runner.taskOf(stepId);
  const request = runner.requestOf(task, "/");
  const end = await runConfined(task, canonicalBytes(request));
  const log = Buffer.from(end.stderr).toString("utf8");
  expect(end, log).toMatchObject({ ended: "exited", exitCode: 0 });
  const outputs = runner.outputs();
  checkProgramOutput(task, request, outputs);
  for (const [name, bytes] of outputs) runner.artifacts.set(`${stepId}/${name}`, bytes);
  return outputs;
}

describe("the Iron Path's programs in the sandbox", () => {
  it("work within the default limits, with nothing but what they are given", async () => {
    for (const stepId of ["data_preparation", "baseline_training", "model_training"]) {
      await step(stepId);
    }
    const votes: CastVote[] = [];
    for (const stage of runner.pipeline.stages) {
      if (stage.type !== "agent_chain") continue;
      for (const { role } of stage.agents) {
        const task = runner.taskOf(`${stage.name}.${role}`);
        const outputs = await step(task.stepId);
        const bytes = outputs.get("verdict.json") ?? new Uint8Array();
        const { verdict, claims } = parseAgentVerdict(task, bytes);
        votes.push({ role, keyId: role, envelope: digestOf({ role }), verdict, claims });
      }
    }
    const electorate = votes.map((vote) => vote.role);
    const result = judgeVotes(votes, { electorate, rule: judgeModelClaims });
    expect(result).toMatchObject({ status: "SOVEREIGN_CONSENSUS_REACHED", faulty: [] });
  });
});
