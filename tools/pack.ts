import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

/** `npm run pack`: the tarballs of what `npm run build` staged, in `dist/tarballs/`. */
const dist = resolve(import.meta.dirname, "../dist");
const tarballs = join(dist, "tarballs");
rmSync(tarballs, { recursive: true, force: true });
mkdirSync(tarballs);
for (const name of ["core", "verify", "runtime", "client"]) {
  const args = ["pack", "--silent", "--pack-destination", tarballs];
  const file = execFileSync("npm", args, { cwd: join(dist, name), encoding: "utf8" }).trim();
  console.log(join(tarballs, file));
}
