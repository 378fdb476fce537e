import { readFileSync } from "node:fs";
import { evaluateGates, readGateInputs, type SourceImports } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { listFiles } from "./files.ts";

/** Static and dynamic imports and requires, as they are written; types alone start nothing. */
function importsOf(text: string): string[] {
  const code = text.replaceAll(/\bimport type [^;]*;/g, "");
  const found = code.matchAll(/(?:\bfrom|\bimport|\brequire)\s*\(?\s*["']([^"']+)["']/g);
  return [...found].map((match) => match[1] ?? "");
}

function judge(sources: readonly SourceImports[]): string | undefined {
  const inputs = { ...readGateInputs(new Map(), []), sources };
  return evaluateGates(inputs).results.find((one) => one.gate === "EX-B")?.verdict;
}

describe("gate EX-B, over our own sources", () => {
  const sources = listFiles(/^packages\/[^/]+\/src\/.*\.ts$/).map((path) => ({
    path,
    imports: importsOf(readFileSync(path, "utf8")),
  }));

  it("passes: nothing starts a process outside the module that is made for it", () => {
    expect(sources.length).toBeGreaterThan(100);
    expect(judge(sources)).toBe("pass");
  });

  it.each([
    'import { spawn } from "node:child_process";',
    "const { spawn } = await import('child_process');",
    'const x = require("node:child_process");',
  ])("fails once a source has %s", (line) => {
    const path = "packages/runtime/src/executor/other.ts";
    expect(judge([...sources, { path, imports: importsOf(line) }])).toBe("fail");
  });
});
