import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

/** Third-party vectors are read in place: they are not part of this repository. */
const root = resolve(process.env["SOVEREIGN_VECTORS"] ?? "../shared/vectors");

export const vectorsMissing = existsSync(root)
  ? null
  : `no third-party vectors at ${root}: set SOVEREIGN_VECTORS`;

export function vectorBytes(path: string): Uint8Array {
  return readFileSync(join(root, path));
}

export function vectorJson(path: string): unknown {
  return JSON.parse(readFileSync(join(root, path), "utf8"));
}

/** All files below a folder, as paths relative to the vectors. */
export function vectorFiles(folder: string): string[] {
  return readdirSync(join(root, folder)).flatMap((name) => {
    const path = join(folder, name);
    return statSync(join(root, path)).isDirectory() ? vectorFiles(path) : [path];
  });
}
