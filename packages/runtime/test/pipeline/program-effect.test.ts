import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, GENESIS_HASH, type JsonObject, sha256Hex } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EffectResult } from "../../src/kernel/index.ts";
import { digestTree } from "../../src/pipeline/frozen.ts";
import { createProgramEffect } from "../../src/pipeline/program-effect.ts";
import { ArtifactStore, type FailedLog } from "../../src/runs/index.ts";
import type { SandboxRequest, SandboxResult } from "../../src/sandbox/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-effect-"));
  mkdirSync(join(folder, "programs"));
  writeFileSync(join(folder, "programs", "p.ts"), "1;\n");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Run the effect over a sandbox that leaves what it is told and ends as it is told. */
async function run(
  leaves: Record<string, string>,
  end: Partial<SandboxResult> = {},
  programsDigest?: string,
  onFailedLog: (log: FailedLog) => void = () => undefined,
): Promise<EffectResult> {
  const effect = createProgramEffect("data.prepare", {
    sandbox: {
      run: (request: SandboxRequest) => {
        const output = request.writable[0]?.source ?? "";
        for (const [name, text] of Object.entries(leaves)) writeFileSync(join(output, name), text);
        const done = {
          ended: "exited",
          exitCode: 0,
          signal: null,
          wallMs: 1,
          level: "G3",
          backend: "bubblewrap",
        } as const;
        const stderr = Buffer.from("one\u001b[31m\nline");
        return Promise.resolve({ ...done, stdout: Buffer.alloc(0), stderr, ...end });
      },
    },
    artifacts: new ArtifactStore(join(folder, "artifacts")),
    programs: join(folder, "programs"),
    modules: null,
    scratch: join(folder, "scratch"),
    onFailedLog,
  });
  const params: JsonObject = {
    program: "p.ts",
    programs_digest: programsDigest ?? digestOf(await digestTree(join(folder, "programs"))),
    seed: 1,
    params: {},
    inputs: {},
    outputs: { "result.json": "stage/result.json", "a.json": "stage/a.json" },
    limits: {
      wall_ms: 1000,
      cpu_seconds: 1,
      memory_bytes: 1,
      processes: 1,
      output_bytes: 1,
      file_bytes: 1,
    },
  };
  const context = {
    tenant_id: "acme",
    run_id: `run_${"a".repeat(20)}`,
    step_id: "stage",
    attempt: 1,
    role: "r",
    mode: "sovereign",
    config_digest: GENESIS_HASH,
    policy_digest: GENESIS_HASH,
  } as const;
  const signal = new AbortController().signal;
  const action = { type: "data.prepare", resource: "stage", params };
  return effect({ action, context, idempotencyKey: "k", signal });
}

describe("the effect that runs a program", () => {
  it("refuses programs that are not those that were authorised", async () => {
    await expect(run({}, {}, GENESIS_HASH)).rejects.toMatchObject({ code: "ERR_PROGRAM_CHANGED" });
  });

  it("takes nothing that was not declared, and leaves no scratch behind", async () => {
    await expect(run({ "extra.json": "{}" })).rejects.toMatchObject({ code: "ERR_OUTPUT_REFUSED" });
    await expect(run({ "a.json": "{}" })).rejects.toMatchObject({ code: "ERR_PROGRAM_OUTPUT" });
    expect(readdirSync(join(folder, "scratch"))).toEqual([]);
  });

  it("believes result.json nothing that was not measured here", async () => {
    const content = "{}";
    const sha256 = sha256Hex(Buffer.from(content));
    const result = (bytes: number): string =>
      JSON.stringify({
        program: "another.ts",
        stage: "stage",
        seed: 1,
        inputs: {},
        outputs: { "a.json": { sha256, bytes } },
        summary: {},
      });
    const done = await run({ "a.json": content, "result.json": result(2) });
    if (done.status !== "completed") throw new Error(done.status);
    expect(done.artifacts[0]).toMatchObject({ name: "stage/a.json", sha256, bytes: 2 });
    expect(JSON.stringify(done.output)).not.toContain("another.ts");
    await expect(run({ "a.json": content, "result.json": result(3) })).rejects.toMatchObject({
      code: "ERR_PROGRAM_OUTPUT",
    });
  });

  it("keeps all that a failed program said, with the mark of a limit that cut it", async () => {
    const logs: FailedLog[] = [];
    const stdout = Buffer.from(Array.from({ length: 200 }, (_, at) => `line ${at}\n`).join(""));
    const end = { ended: "output_limit", exitCode: null, signal: "SIGKILL", stdout } as const;
    await run({}, end, undefined, (log) => logs.push(log));
    await run({}, {}, undefined, (log) => logs.push(log)).catch(() => undefined);
    expect(logs).toHaveLength(1);
    const [{ step, ref, lines } = { step: "", ref: { name: "", sha256: "" }, lines: [] }] = logs;
    const kept = await new ArtifactStore(join(folder, "artifacts")).get(ref);
    const text = Buffer.from(kept).toString("utf8");
    expect(text.startsWith(stdout.toString("utf8"))).toBe(true);
    expect(text).toMatch(/\u001b\[31m\nline\n\[sovereign: cut off: .* 1 bytes, its limit\]\n$/);
    expect({ step, count: lines.length }).toEqual({ step: "stage", count: 30 });
  });

  it("tells a failure from a kill, with the end of the log as one plain line", async () => {
    expect(await run({}, { exitCode: 7 })).toEqual({
      status: "failed",
      code: "ERR_PROGRAM_FAILED",
      reason: "exit 7: one [31m line",
    });
    const killed = { ended: "wall_clock", exitCode: null, signal: "SIGKILL" } as const;
    expect(await run({}, killed)).toMatchObject({ status: "killed", code: "ERR_PROGRAM_KILLED" });
  });
});
