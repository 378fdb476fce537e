import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SmallDisk } from "../../packages/runtime/test/support/small-disk.ts";
import { type CliEnd, Installation, runEnded } from "./cli.ts";
import { shortPipeline } from "./short-pipeline.ts";

const KILOBYTE = 1024;

const installation = new Installation({ processes: "one" });
const PIPELINE = shortPipeline(join(installation.home, "example"));
const RUN = ["run", PIPELINE, "--approve", "release_manager", "--approve", "safety_officer"];
const disk = SmallDisk.mount(256);
const home = disk?.path ?? installation.home;
beforeAll(() => expectGoodRun());
afterAll(async () => {
  disk?.unmount();
  await installation.dispose();
});

/** A refusal is one line with a code, never a stack trace; and nothing is called done. */
function expectRefusal(end: CliEnd): void {
  expect(end.code).toBe(1);
  expect(end.err + end.out).toMatch(/ERR_[A-Z_]+|ENOSPC/);
  expect(end.err).not.toMatch(/^\s+at /m);
  expect(end.out).not.toContain(" completed");
}

async function expectGoodRun(): Promise<void> {
  const { code, out, err } = await installation.run([...RUN, "--json"], { SOVEREIGN_HOME: home });
  const lines = out.split("\n").filter((line) => line !== "");
  const ended = runEnded(lines.map((line) => JSON.parse(line) as Record<string, unknown>));
  expect(ended, err).toMatchObject({ status: "completed", verdict: "VALID" });
  expect(code).toBe(0);
}

/** Every bundle that was ever written is whole, and VALID. */
function expectEvidence(): void {
  for (const run of readdirSync(join(home, "runs"))) {
    const folder = join(home, "runs", run);
    // What could not even be recorded has a mark beside its folder.
    if (run.startsWith(".")) continue;
    if (!readdirSync(folder).includes("compliance_bundle.json")) continue;
    const bundle = readFileSync(join(folder, "compliance_bundle.json"));
    const trustRoot = readFileSync(join(folder, "trust-root.json"));
    expect(verifyBundle(bundle, { trustRoot })).toMatchObject({ verdict: "VALID" });
  }
}

describe.skipIf(disk === null)("a full disk (needs root, to mount a small one)", () => {
  it.each([0, 128])("with %i KB left ends a run plainly; the next one is fine", async (left) => {
    const home = disk?.path ?? "";
    await expectGoodRun();
    disk?.fill(left * KILOBYTE);
    expectRefusal(await installation.run(RUN, { SOVEREIGN_HOME: home }));
    disk?.empty();
    await expectGoodRun();
    expectEvidence();
  });
});

describe("a data folder that is read-only", () => {
  it("refuses plainly, and is used again once it may be written", async () => {
    setReadOnly(true);
    try {
      for (const args of [RUN, ["status"]]) {
        const end = await installation.run(args, { SOVEREIGN_HOME: home });
        expectRefusal(end);
        expect(end.err).toContain("ERR_DATA_FOLDER");
      }
    } finally {
      setReadOnly(false);
    }
    await expectGoodRun();
    expectEvidence();
  });
});

/** Root may write wherever the disk can be written, so for root it is the disk that may not. */
function setReadOnly(readOnly: boolean): void {
  if (disk !== null) {
    disk.setReadOnly(readOnly);
    return;
  }
  for (const name of ["", "postgres", "keys", "ledger", "runs", "scram", "registry"]) {
    chmodSync(join(home, name), readOnly ? 0o500 : 0o700);
  }
}
