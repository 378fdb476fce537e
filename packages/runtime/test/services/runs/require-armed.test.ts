import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ScramLatch } from "../../../src/scram/index.ts";
import { refuseWhileTripped } from "../../../src/services/runs/require-armed.ts";

const RUN = `run_${"a".repeat(20)}`;
const RESET =
  /two people type: sovereign scram reset --operator-key \S+ --architect-key \S+ --reason/;

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sov-armed-"));
  new ScramLatch(join(home, "scram")).trip({
    event_id: `SCRAM-${"A".repeat(20)}`,
    scope: { kind: "all" },
    reason: "system_critical",
    tripped_at: "2026-01-01T00:00:00.000Z",
  });
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

it.each([null, RUN])("while it is tripped, a refusal names each command: run %s", (runId) => {
  const refuse = (): void => {
    refuseWhileTripped(home, "acme", runId);
  };
  expect(refuse).toThrow(RESET);
  if (runId !== null) expect(refuse).toThrow(`then: sovereign run resume ${runId}`);
});
