import { spawn } from "node:child_process";
import { describe, expect, it } from "vitest";

/** It starts some ten agents, each a process of a quarter of a gigabyte. */
const PATIENCE_MS = 900_000;

describe("the demonstration of an agent at work", () => {
  it(
    "mends, is denied, is kept to its budget, is discarded and is stopped",
    async () => {
      const { code, out } = await demonstrate("claude");
      expect(out).toContain("All of it holds.");
      expect(out).toContain("ERR_AGENT_DISCARDED");
      expect(code).toBe(0);
    },
    PATIENCE_MS,
  );

  it(
    // Codex is stopped by two keys in agent-killed.real.test.ts.
    "is denied with Codex, too",
    async () => {
      const { code, out } = await demonstrate("codex", "deny");
      expect(out).toContain("All of it holds.");
      expect(out).toContain("codex 0.171.0 works");
      expect(code).toBe(0);
    },
    PATIENCE_MS,
  );
});

interface Ended {
  readonly code: unknown;
  readonly out: string;
}

async function demonstrate(...words: string[]): Promise<Ended> {
  const program = ["--disable-warning=ExperimentalWarning", "examples/agent/demo.ts"];
  const stdio: ["ignore", "pipe", "inherit"] = ["ignore", "pipe", "inherit"];
  const child = spawn(process.execPath, [...program, ...words], { stdio });
  let out = "";
  child.stdout.on("data", (part) => (out += String(part)));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, out };
}
