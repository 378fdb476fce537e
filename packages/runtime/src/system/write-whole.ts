import { renameSync, writeFileSync } from "node:fs";

/** Write a file so that what is there is whole: a disk that is full leaves the old one, or none. */
export function writeWhole(path: string, data: string | Uint8Array): void {
  const partial = `${path}.partial`;
  writeFileSync(partial, data, { mode: 0o600, flush: true });
  renameSync(partial, path);
}
