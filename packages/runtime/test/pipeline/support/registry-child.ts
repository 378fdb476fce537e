// Runs one registry switch in a process of its own, and kills that process at a named step.
// argv: folder, mode (promote|rollback), text of the model, expected current or "null", key, step.
import { sha256Hex, utf8Encode } from "@sovereign/core";
import { systemClock, systemEntropy } from "../../../src/system/index.ts";
import { createModelRegistry } from "../../../src/pipeline/index.ts";

const [folder = "", mode = "", text = "", expected = "", key = "", killAt = ""] =
  process.argv.slice(2);
const registry = createModelRegistry({
  folder,
  clock: systemClock,
  entropy: systemEntropy,
  onStep: (step) => {
    if (step === killAt) process.kill(process.pid, "SIGKILL");
  },
});
const bytes = utf8Encode(text);
const common = { model: "m", runId: "run_aaaaaaaaaaaaaaaaaaaa", idempotencyKey: key };
process.stdout.write("ready\n");
if (mode === "promote") {
  const expectedCurrent = expected === "null" ? null : expected;
  await registry.promote({ ...common, digest: sha256Hex(bytes), bytes, expectedCurrent });
} else {
  await registry.rollback({ ...common, toDigest: sha256Hex(bytes), expectedCurrent: expected });
}
process.stdout.write("done\n");
