import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSandbox, type SandboxRequest } from "../packages/runtime/src/sandbox/index.ts";
import { type BenchReport, quantiles, round } from "./report.ts";

const LIMITS: SandboxRequest["limits"] = {
  wallMs: 30_000,
  cpuSeconds: 20,
  memoryBytes: 512 * 1024 * 1024,
  processes: 64,
  outputBytes: 100_000,
  fileBytes: 1_000_000,
};
/** Ignores every signal it can, leaves its session, forks daemons and goes on forking. */
const HOSTILE = `trap '' TERM INT HUP; setsid sleep 60 & (setsid sh -c "sleep 60 & sleep 60" &)
echo ready > /out/ready; while :; do (sleep 0.01 &); done`;

/** What the sandbox costs at start, and how long it takes from a cancel to verified death. */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  try {
    const plain: number[] = [];
    const boxed: number[] = [];
    // Interleaved, so that a noisy moment falls on both.
    for (let trial = 0; trial < 60; trial++) {
      plain.push(await timed(() => plainSpawn()));
      boxed.push(await timed(() => sandboxed("exit 0", folder, new AbortController().signal)));
    }
    const kills: number[] = [];
    for (let trial = 0; trial < 30; trial++) kills.push(await killHostile(folder));
    const row = (name: string, samples: number[], extra = {}) => {
      const { p50, p99, max } = quantiles(samples);
      return { name, values: { p50: round(p50), p99: round(p99), max: round(max), ...extra } };
    };
    const ratio = round(quantiles(boxed).p50 / quantiles(plain).p50);
    return {
      title: "Sandbox, milliseconds",
      rows: [
        row("plain spawn of sh", plain),
        row("the same in the sandbox, verified dead", boxed, { "times plain": ratio }),
        row("cancel to verified death, hostile payload", kills),
      ],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function plainSpawn(): Promise<void> {
  return new Promise((resolve) => {
    spawn("/bin/sh", ["-c", "exit 0"]).on("close", () => {
      resolve();
    });
  });
}

function sandboxed(script: string, folder: string, signal: AbortSignal): Promise<unknown> {
  const writable = [{ source: folder, target: "/out" }];
  const argv = ["/bin/sh", "-c", script];
  const request = { argv, cwd: "/tmp", readOnly: [], writable, env: {}, limits: LIMITS };
  return createSandbox().run(request, signal);
}

async function killHostile(folder: string): Promise<number> {
  const controller = new AbortController();
  const ended = sandboxed(HOSTILE, folder, controller.signal);
  while (!readdirSync(folder).includes("ready")) await new Promise((next) => setTimeout(next, 5));
  await new Promise((next) => setTimeout(next, 50));
  const start = performance.now();
  controller.abort();
  await ended;
  const ms = performance.now() - start;
  rmSync(join(folder, "ready"));
  return ms;
}
