import { readFileSync } from "node:fs";
import { judgeRelease } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { listFiles } from "./files.ts";

function judge(sources: ReadonlyMap<string, Uint8Array>, gate = "EX-B"): string | undefined {
  return judgeRelease(sources).results.find((one) => one.gate === gate)?.verdict;
}

const sources = new Map<string, Uint8Array>(
  listFiles(/^packages\/[^/]+\/src\/.*\.ts$/).map((path) => [path, readFileSync(path)]),
);

describe("gate EX-B, over our own sources", () => {
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

describe("gate TL-B, over our own sources", () => {
  const path = "packages/runtime/src/coding/adapters/other/prepare.ts";

  it("passes: no adapter can write a file", () => {
    expect(judge(sources, "TL-B")).toBe("pass");
  });

  it.each(["node:fs", "fs/promises", "node:child_process", "node:net"])(
    "fails once an adapter imports %s",
    (module) => {
      const line = Buffer.from(`import * as x from "${module}";`);
      expect(judge(new Map([...sources, [path, line]]), "TL-B")).toBe("fail");
    },
  );

  it("judges no release that is older than it", () => {
    const older = new Map([...sources].filter(([name]) => !name.endsWith("/tool-gates.ts")));
    expect(judge(older, "TL-B")).toBeUndefined();
    expect(judge(older)).toBe("pass");
  });
});
