import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";

/** A secret as whoever keeps it by accident would keep it. */
export function formsOf(secret: string): Buffer[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    bytes.toString("hex"),
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
  ]
    .concat([0, 1, 2].map((before) => stable(bytes, before)))
    .map((one) => Buffer.from(one));
}

/** Of its base64 what does not depend on its neighbours. */
function stable(bytes: Buffer, before: number): string {
  const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
  return text.slice(before === 0 ? 0 : 4, -4);
}

export function holdsSecret(bytes: Uint8Array, secret: string): boolean {
  const found = Buffer.from(bytes);
  return formsOf(secret).some((form) => found.includes(form));
}

/** Files below a folder that hold a secret in any form. @param skip parts of paths that may */
export function filesWith(folder: string, secret: string, skip: readonly string[] = []): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .filter((path) => !skip.some((part) => path.includes(part)))
    .filter((path) => holdsSecret(readKept(path), secret));
}

/** A server that runs removes files while it is looked at. */
function readKept(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

/** Tables that hold a secret, with every column written out as it is. */
export async function tablesWith(owner: pg.Client, secret: string): Promise<string[]> {
  const { rows: tables } = await owner.query<{ name: string }>(
    "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await owner.query<Record<string, unknown>>(`select * from ${name}`);
    const parts = rows.flatMap((row) =>
      Object.values(row).map((one) =>
        Buffer.isBuffer(one) ? one : Buffer.from(JSON.stringify([one])),
      ),
    );
    if (parts.some((one) => holdsSecret(one, secret))) found.push(name);
  }
  return found;
}
