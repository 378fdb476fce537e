import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let root: string;
let source: string;
let folder: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "sov-bundle-"));
  const runtime = join(root, "packages/runtime");
  folder = join(runtime, "node_modules/.cache/bundle");
  source = join(runtime, "src/main/cli.ts");
  cpSync(join(import.meta.dirname, "../../bin"), join(runtime, "bin"), { recursive: true });
  mkdirSync(join(source, ".."), { recursive: true });
  mkdirSync(join(folder, "one"), { recursive: true });
  writeFileSync(source, 'process.stdout.write("sources");');
  writeFileSync(join(folder, "one/cli.mjs"), 'process.stdout.write("joined");');
  list([{ path: "packages/runtime/src/main/cli.ts" }]);
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function list(files: readonly { path: string }[]): void {
  const inputs = files.map(({ path }) => {
    const { size, mtimeMs } = statSync(join(root, path));
    return [path, size, mtimeMs];
  });
  writeFileSync(join(folder, "inputs.json"), JSON.stringify({ entry: "one/cli.mjs", inputs }));
}

function started(): string {
  const program = join(root, "packages/runtime/bin/sovereign.js");
  const { stdout, stderr } = spawnSync(process.execPath, [program, "status"], { encoding: "utf8" });
  return stdout + stderr;
}

describe("the joined modules", () => {
  it("run while every source is what it was", () => {
    expect(started()).toBe("joined");
  });

  it.each<[string, () => void]>([
    [
      "a source changed",
      () => {
        appendFileSync(source, " ");
      },
    ],
    [
      "the list is no list",
      () => {
        writeFileSync(join(folder, "inputs.json"), "{");
      },
    ],
    [
      "they are gone",
      () => {
        rmSync(join(folder, "one"), { recursive: true });
      },
    ],
    [
      "a source is gone",
      () => {
        writeFileSync(join(root, "other.ts"), "");
        list([{ path: "other.ts" }]);
        rmSync(join(root, "other.ts"));
      },
    ],
  ])("do not run where %s", (_, breakIt) => {
    breakIt();
    expect(started()).toBe("sources");
  });
});
