import { spawn } from "node:child_process";
import { describe, expect, it } from "vitest";

/** It starts some ten agents, each a process of a quarter of a gigabyte. */
const PATIENCE_MS = 900_000;

describe("the demonstration of an agent at work", () => {
  it(
    "mends, is denied, is kept to its budget, is discarded and is stopped",
    async () => {
      const words = ["--disable-warning=ExperimentalWarning", "examples/agent/demo.ts"];
      const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
      let out = "";
      child.stdout.on("data", (part) => (out += String(part)));
      const code = await new Promise((resolve) => child.on("close", resolve));
      expect(out).toContain("All of it holds.");
      expect(out).toContain("ERR_AGENT_DISCARDED");
      expect(code).toBe(0);
    },
    PATIENCE_MS,
  );
});
