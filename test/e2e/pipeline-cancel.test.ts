import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ComplianceBundle } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, expect, it } from "vitest";
import { endOf, Installation } from "./cli.ts";
import { killUnwritten } from "./kill-at-entry.ts";
import { shortPipeline } from "./short-pipeline.ts";

const installation = new Installation();
afterAll(() => installation.dispose());

it("records a promotion whose process died before it could, where the run is cancelled", async () => {
  const pipeline = shortPipeline(join(installation.home, "example"));
  const people = ["--approve", "release_manager", "--approve", "safety_officer"];
  const env = killUnwritten("execution.completed#3");
  const killed = await endOf(installation.start(["run", pipeline, ...people], env));
  expect(killed.code).toBeNull();
  const listed = await installation.json(["runs", "list"]);
  const run = String(listed.documents[0]?.["run"]);

  const cancelled = await installation.run(["runs", "cancel", run, "--reason", "enough"]);
  expect(cancelled.code, cancelled.err).toBe(0);
  const read = (name: string): Buffer => readFileSync(join(installation.home, "runs", run, name));
  const bytes = read("compliance_bundle.json");
  const found = verifyBundle(bytes, { trustRoot: read("trust-root.json") });
  expect(found).toMatchObject({ verdict: "VALID" });
  const { entries } = JSON.parse(bytes.toString()) as ComplianceBundle;
  const last = entries.slice(-4).map(({ entry }) => [entry.event_type, entry.data["step_id"]]);
  expect(last).toEqual([
    ["execution.authorized", undefined],
    ["run.resumed", undefined],
    ["execution.completed", "baseline_promotion"],
    ["run.sealed", undefined],
  ]);
});
