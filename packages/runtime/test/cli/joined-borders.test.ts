import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../../..");
const MAIN = "packages/runtime/src/main/";

let folder: string;
beforeAll(() => {
  execFileSync(process.execPath, [join(ROOT, "tools/build-bundle.ts")], { stdio: "inherit" });
  // What was judged in this process before is what it was then.
  const asked = `process.stdout.write(require(${JSON.stringify(joinedPath())})("main/engine.mjs"))`;
  const engine = execFileSync(process.execPath, ["-e", asked], { encoding: "utf8" });
  folder = dirname(dirname(engine));
});

function joinedPath(): string {
  return createRequire(import.meta.url).resolve("../../bin/joined.js");
}

/** The sources of which something is in what a program may load. */
function sourcesOf(program: string): string[] {
  const seen = new Set<string>();
  const open = [join(folder, "main", `${program}.mjs`)];
  const sources: string[] = [];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const text = readFileSync(path, "utf8");
    for (const [, source = ""] of text.matchAll(/^\/\/ (\S+\.[cm]?[jt]s)$/gm)) sources.push(source);
    for (const [, next = ""] of text.matchAll(/["'](\.{1,2}\/\S+\.mjs)["']/g)) {
      open.push(join(dirname(path), next));
    }
  }
  return sources;
}

interface Rule {
  readonly name: string;
  readonly from: { readonly path?: string };
  readonly to: { readonly path?: string; readonly reachable?: boolean };
}

const { forbidden } = (
  (await import(join(ROOT, ".dependency-cruiser.mjs"))) as {
    default: { forbidden: readonly Rule[] };
  }
).default;
const reachable = forbidden.flatMap(({ name, from, to }) =>
  to.reachable === true
    ? [{ name, from: new RegExp(from.path ?? ""), to: new RegExp(to.path ?? "") }]
    : [],
);

describe("the joined programs", () => {
  it.each(reachable)("keep the border $name", ({ from, to }) => {
    const programs = ["cli", "egress", "engine", "gateway", "model-proxy", "sentinel"];
    const held = programs.filter((program) => from.test(`${MAIN}${program}.ts`));
    expect(held).toHaveLength(1);
    const [program = ""] = held;
    const sources = sourcesOf(program);
    expect(sources).toContain(`${MAIN}${program}.ts`);
    expect(sources.filter((source) => to.test(source))).toEqual([]);
    // The same look finds it where it may be.
    expect(sourcesOf("cli").filter((source) => to.test(source))).not.toEqual([]);
  });
});
