import { existsSync } from "node:fs";
import { createRequire } from "node:module";
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
