import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";

const GENUINE = resolve(import.meta.dirname, "../../../test/vectors/evidence/genuine");
const PROGRAM = resolve(import.meta.dirname, "../bin/sovereign-verify.js");

const verify = (file: string): { status: number | null; stdout: string } =>
  spawnSync(
    process.execPath,
    [PROGRAM, "--bundle", join(GENUINE, file), "--trust", join(GENUINE, "trust-last.json")],
    { encoding: "utf8" },
  );

it("is VALID with a word on what that says of a run that did not succeed", () => {
  const failed = verify("failing.json");
  expect(failed).toMatchObject({ status: 0 });
  expect(failed.stdout).toMatch(
    /Verdict: VALID\nThe run did not succeed \(failed\)\. VALID says that the\nrecord of that is whole/,
  );
  const completed = verify("iron.json");
  expect(completed).toMatchObject({ status: 0 });
  expect(completed.stdout).toContain("Verdict: VALID\n");
  expect(completed.stdout).not.toContain("did not succeed");
});
