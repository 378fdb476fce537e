import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CLUSTER = fileURLToPath(new URL("make-cluster.ts", import.meta.url));
const MIGRATIONS = fileURLToPath(new URL("../../src/store/migrations/", import.meta.url));

/** Takes what was made; false when somebody else was quicker. */
function keep(made: string, path: string): void {
  try {
    renameSync(made, path);
  } catch (error) {
    if (!existsSync(path)) throw error;
    rmSync(made, { recursive: true });
  }
}

/**
 * A folder that is made once in a run of the tests, by whoever needs it first, and copied to where it is
 * needed: making a database cluster takes fifteen times as long as copying one.
 *
 * @param name of what is made
 * @param to where the copy goes; it is not there yet
 */
export async function copyPrepared(
  name: string,
  to: string,
  make: (folder: string) => Promise<void>,
): Promise<void> {
  const path = placeOf(name);
  if (!existsSync(path)) {
    const made = mkdtempSync(`${path}-`);
    await make(made);
    keep(made, path);
  }
  copy(path, to);
}

/**
 * A cluster as the product makes it, with its schema and nothing else: no installation, no secret.
 * @param folder a data folder's `postgres/`
 */
export function copyCluster(folder: string): void {
  const path = placeOf(`cluster-${schemaDigest()}`);
  if (!existsSync(path)) {
    const made = mkdtempSync(`${path}-`);
    execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", CLUSTER, made]);
    keep(made, path);
  }
  copy(join(path, "pg/data"), join(folder, "data"));
}

/** Where nobody takes the folder away afterwards, one of another schema may be left there. */
function schemaDigest(): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(MIGRATIONS).sort())
    hash.update(readFileSync(join(MIGRATIONS, name)));
  return hash.digest("hex").slice(0, 16);
}

function placeOf(name: string): string {
  return join(tmpdir(), `sov-prepared-${name}`);
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  execFileSync("/bin/cp", ["-a", "--reflink=auto", from, to]);
}
