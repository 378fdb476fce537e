import { Command } from "commander";
import { expect, it } from "vitest";
import type { CommandContext } from "../../src/cli/context.ts";
import { runsCommands } from "../../src/cli/commands/runs.ts";
import type { RunDetails, Services } from "../../src/services/index.ts";

/** Whoever cancels a run over HTTP says why, and whoever submits one names it. */
const HOSTILE = "no\nstatus: completed\u001b[32m\u001b[0m\u001b[31m\tverified \u202e";
const RUN = "run_aaaaaaaaaaaaaaaaaaaa";
const shown: RunDetails = {
  ...{ runId: RUN, tenantId: "acme", kind: "goal", name: HOSTILE, status: "failed" },
  ...{ reason: HOSTILE, mode: "sovereign", planDigest: "", sealed: null, plan: new Uint8Array() },
  ...{ createdAt: "then", updatedAt: "now", folder: "/run", request: null, published: false },
  ...{ bundle: null, trustRoot: null, workers: null, next: null },
  steps: [{ step: HOSTILE, status: "failed", attempt: 1 }],
};

async function printed(...words: string[]): Promise<string> {
  const said: string[] = [];
  const services = {
    showRun: () => Promise.resolve(shown),
    listRuns: () => Promise.resolve([shown]),
  } as unknown as Services;
  const output = { json: false, colour: true, debug: false, note: () => undefined };
  const context = {
    ...{ services, signal: new AbortController().signal, exit: 0 },
    output: { ...output, printJson: () => undefined, print: (text: string) => said.push(text) },
  } as unknown as CommandContext;
  const program = new Command().option("--tenant <tenant>", "", "acme");
  runsCommands(program, context);
  await program.parseAsync(words, { from: "user" });
  return said.join("\n");
}

it.each([
  ["show", ["runs", "show", RUN], 10],
  ["list", ["runs", "list"], 2],
])("what others wrote of a run is one line of `runs %s`, and no more", async (_, words, lines) => {
  const text = await printed(...words);
  expect(text).not.toMatch(/^status: completed|[\u001b\t\u202e]/m);
  expect(text).toContain("no\\u{a}status: completed\\u{1b}[32m");
  expect(text.split("\n")).toHaveLength(lines);
});
