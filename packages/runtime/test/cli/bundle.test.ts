import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const MAKING = "0123456789abcdef";

let root: string;
let source: string;
let folder: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "sov-bundle-")));
  const runtime = join(root, "packages/runtime");
  folder = join(runtime, "node_modules/.cache/bundle");
  source = join(runtime, "src/main/cli.ts");
  cpSync(join(import.meta.dirname, "../../bin"), join(runtime, "bin"), { recursive: true });
  mkdirSync(join(source, ".."), { recursive: true });
  mkdirSync(join(folder, MAKING, "main"), { recursive: true });
  writeFileSync(source, 'process.stdout.write("sources");');
  writeFileSync(join(folder, MAKING, "main/cli.mjs"), 'process.stdout.write("joined");');
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
  writeFileSync(join(folder, "inputs.json"), JSON.stringify({ root, folder: MAKING, inputs }));
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
      "they were made in another folder",
      () => {
        const known = join(folder, "inputs.json");
        writeFileSync(known, readFileSync(known, "utf8").replace(root, `${root}-other`));
      },
    ],
    [
      "they are gone",
      () => {
        rmSync(join(folder, MAKING), { recursive: true });
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

  it("start others of the same making, whatever became of the sources", () => {
    const { joined } = programs();
    appendFileSync(source, " ");
    expect(foundBy(joined)).toBe(joined);
  });

  it("start the sources where a later making removed them", () => {
    const { joined } = programs();
    expect(foundBy(joined, "main/other.mjs")).toBe("null");
  });

  it("are found by sources while those are what they were", () => {
    const { joined, unjoined } = programs();
    expect(foundBy(unjoined)).toBe(joined);
    appendFileSync(source, " ");
    expect(foundBy(unjoined)).toBe("null");
  });
});

/** Two programs that look for a joined one. */
function programs(): Record<"joined" | "unjoined", string> {
  const text = "process.stdout.write(`${require(process.argv[2])(process.argv[3])}`);";
  const joined = join(folder, MAKING, "main/engine.cjs");
  const unjoined = join(root, "engine.cjs");
  for (const path of [joined, unjoined]) writeFileSync(path, text);
  return { joined, unjoined };
}

function foundBy(program: string, name = "main/engine.cjs"): string {
  const joined = join(root, "packages/runtime/bin/joined.js");
  return spawnSync(process.execPath, [program, joined, name], { encoding: "utf8" }).stdout;
}
