import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const joined = require("../../bin/joined.js") as (name: string) => string | null;

/**
 * One of our programs: as its source, joined where that is up to date, or as built, whichever we are
 * ourselves.
 *
 * @param path below the sources, without its ending: `main/engine`
 */
export function programFile(path: string): string {
  const source = fileURLToPath(new URL(`../${path}.ts`, import.meta.url));
  if (existsSync(source)) return joined(`${path}.mjs`) ?? source;
  return fileURLToPath(new URL(`../${path}.js`, import.meta.url));
}

/** One that needs no other file, and where a sandbox sees it: its name tells Node how to read it. */
export function programInside(path: string): { readonly source: string; readonly target: string } {
  const source = programFile(path);
  const end = source.endsWith(".ts") ? "mts" : "mjs";
  return { source, target: `/sovereign/programs/${basename(path)}.${end}` };
}
