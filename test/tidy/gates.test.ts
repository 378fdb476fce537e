import { readFileSync } from "node:fs";
import { judgeRelease } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { listFiles } from "./files.ts";

function judge(sources: ReadonlyMap<string, Uint8Array>): string | undefined {
  return judgeRelease(sources).results.find((one) => one.gate === "EX-B")?.verdict;
}

describe("gate EX-B, over our own sources", () => {
  const sources = new Map<string, Uint8Array>(
    listFiles(/^packages\/[^/]+\/src\/.*\.ts$/).map((path) => [path, readFileSync(path)]),
  );

  it("passes: nothing starts a process outside the module that is made for it", () => {
    expect(sources.size).toBeGreaterThan(100);
    expect(judge(sources)).toBe("pass");
  });

  it.each([
    'import { spawn } from "node:child_process";',
    "const { spawn } = await import('child_process');",
    "const { spawn } = await import(`node:child_process`);",
    'const x = require("node:child_process");',
    'const x = process.getBuiltinModule("child_process");',
    'const x = process.binding("spawn_sync");',
  ])("fails once a source has %s", (line) => {
    const path = "packages/runtime/src/executor/other.ts";
    expect(judge(new Map([...sources, [path, Buffer.from(line)]]))).toBe("fail");
  });

  it("takes types for nothing that runs", () => {
    const line = 'import type { ChildProcess } from "node:child_process";';
    const path = "packages/runtime/src/executor/other.ts";
    expect(judge(new Map([...sources, [path, Buffer.from(line)]]))).toBe("pass");
  });
});
