import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { GitRepository } from "../src/git/index.ts";
import { verifyRepositoryCustody } from "../src/repository-custody.ts";
import { verifyBundle } from "../src/verify-bundle.ts";

const GENUINE = join(import.meta.dirname, "../../../test/vectors/evidence/genuine");

function custodyOf(file: string): ReturnType<typeof verifyBundle> {
  return verifyBundle(readFileSync(join(GENUINE, file)), {
    trustRoot: readFileSync(join(GENUINE, "trust-last.json")),
    // A repository that must not be asked: nothing of it is there.
    custody: (bundle, step) => {
      verifyRepositoryCustody({} as GitRepository, bundle, step);
    },
  });
}

describe("a repository beside a run that made no commits", () => {
  it.each(["iron.json", "failing.json", "batch.json"])("is not applicable: %s", (file) => {
    const { verdict, steps } = custodyOf(file);
    expect(verdict).toBe("VALID");
    expect(steps[5]).toMatchObject({
      name: "repository_custody",
      status: "NOT_RUN",
      details: { not_applicable: "the run is no execution: it made no commits" },
    });
  });

  it("is INCOMPLETE for an execution of which nothing came back", () => {
    expect(custodyOf("exec-deny.json").verdict).toBe("INCOMPLETE");
  });
});
