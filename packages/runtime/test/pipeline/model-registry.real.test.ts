import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sha256Hex, utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock, systemEntropy } from "../../src/system/index.ts";
import { createModelRegistry, type ModelRegistry } from "../../src/pipeline/index.ts";

const child = fileURLToPath(new URL("support/registry-child.ts", import.meta.url));
const runId = "run_aaaaaaaaaaaaaaaaaaaa";
const digestOfText = (text: string): string => sha256Hex(utf8Encode(text));

let folder = "";
let registry: ModelRegistry;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "registry-kill-"));
  registry = createModelRegistry({ folder, clock: systemClock, entropy: systemEntropy });
  await registry.promote({
    model: "m",
    digest: digestOfText("old"),
    bytes: utf8Encode("old"),
    expectedCurrent: null,
    runId,
    idempotencyKey: "first",
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function start(
  mode: string,
  text: string,
  expected: string,
  key: string,
  at: string,
): ChildProcess {
  return spawn(process.execPath, [child, folder, mode, text, expected, key, at], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function ended(process: ChildProcess): Promise<NodeJS.Signals | null> {
  const [, signal] = (await once(process, "exit")) as [number | null, NodeJS.Signals | null];
  return signal;
}

describe("a registry whose process is killed", () => {
  it.each([
    ["blob_kept", "old"],
    ["record_named", "new"],
  ])("holds one whole model when it dies at %s", async (step, current) => {
    const process = start("promote", "new", digestOfText("old"), "k", step);
    expect(await ended(process)).toBe("SIGKILL");
    expect((await registry.current("m"))?.digest).toBe(digestOfText(current));
    const again = { model: "m", runId, idempotencyKey: "k" };
    const record = await registry.promote({
      ...again,
      digest: digestOfText("new"),
      bytes: utf8Encode("new"),
      expectedCurrent: digestOfText("old"),
    });
    expect(record.version).toBe(2);
    expect(await registry.history("m")).toHaveLength(2);
  });

  it.each(["record_named", "restored"])("finishes a rollback that died at %s", async (step) => {
    await ended(start("promote", "new", digestOfText("old"), "k", ""));
    expect(await ended(start("rollback", "old", digestOfText("new"), "r", step))).toBe("SIGKILL");
    const proof = await registry.rollback({
      model: "m",
      toDigest: digestOfText("old"),
      expectedCurrent: digestOfText("new"),
      runId,
      idempotencyKey: "r",
    });
    expect(proof).toMatchObject({
      before: digestOfText("new"),
      after: digestOfText("old"),
      restored_digest: digestOfText("old"),
    });
    expect(await registry.history("m")).toHaveLength(3);
  });

  it("holds one whole model when it dies at any instant", async () => {
    let current = "old";
    for (let round = 0; round < 24; round += 1) {
      const next = `${round} `.repeat(20_000);
      const process = start("promote", next, digestOfText(current), `round ${round}`, "");
      if (process.stdout !== null) await once(process.stdout, "data");
      setTimeout(() => process.kill("SIGKILL"), (round % 12) * 3);
      await ended(process);
      const found = (await registry.current("m"))?.digest ?? "";
      expect([digestOfText(current), digestOfText(next)]).toContain(found);
      expect(sha256Hex(await registry.read(found))).toBe(found);
      if (found === digestOfText(next)) current = next;
    }
  });
});
