import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  canonicalBytes,
  fields,
  isSovereignError,
  parseFormat,
  parseStrictJson,
  quoted,
  cutText,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { readOwnFile, removeAt, replaceOwnFile } from "../system/index.ts";
import { type OwnFolder, readOwnFolder } from "./own-folder.ts";
import type { OwnManifest } from "./own-manifest.ts";

const NAME = /^[a-z][a-z0-9_]{0,59}$/;
const SUFFIX = ".skill.json";
const RECORD_BYTES_MAX = 4096;

const trustedSkill = z.strictObject({
  tenant_id: fields.name,
  name: z.string().regex(NAME),
  /** Of the folder as it was accepted. */
  digest: fields.digest,
  at: fields.timestamp,
});

/** A skill of one's own as it was trusted, and is still. */
export interface OwnSkill {
  readonly manifest: OwnManifest;
  readonly digest: string;
  /** Our copy of its folder. */
  readonly folder: string;
  readonly at: string;
}

/** The skills that somebody trusted for one tenant: a copy of each, and its digest. */
export class OwnSkills {
  readonly #tenant: string;
  readonly #folder: string;

  /** @param root `skills/` of the data folder */
  constructor(root: string, tenant: string) {
    this.#tenant = parseFormat(fields.name, tenant, "tenant");
    this.#folder = join(root, this.#tenant);
  }

  /** Trust a folder as it was read, and keep a copy; another of the name is trusted no more. */
  add({ manifest, digest, files }: OwnFolder, at: string): void {
    const { name } = manifest;
    const before = this.#read(name)?.digest;
    const copy = this.#copyOf(name, digest);
    const made = `${copy}.new-${process.pid}`;
    rmSync(made, { recursive: true, force: true });
    // The folder above is ours alone; whoever runs it in a sandbox is another user.
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    chmodSync(this.#folder, 0o700);
    for (const { path, content, executable } of files) {
      const place = join(made, path);
      mkdirSync(dirname(place), { recursive: true });
      writeFileSync(place, content, { flag: "wx" });
      chmodSync(place, executable ? 0o755 : 0o644);
    }
    openFolders(made);
    rmSync(copy, { recursive: true, force: true });
    renameSync(made, copy);
    const record = { tenant_id: this.#tenant, name, digest, at };
    replaceOwnFile(this.#recordOf(name), canonicalBytes(record));
    if (before !== undefined && before !== digest) {
      rmSync(this.#copyOf(name, before), { recursive: true, force: true });
    }
  }

  /** All of them, by name. @throws ERR_SKILL_CHANGED */
  list(): OwnSkill[] {
    let names: string[];
    try {
      names = readdirSync(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
    const kept = names.filter((name) => name.endsWith(SUFFIX)).sort();
    return kept.map((name) => this.open(name.slice(0, -SUFFIX.length)));
  }

  /** @throws ERR_SKILL_UNKNOWN */
  remove(name: string): void {
    const found = this.#read(name);
    if (found === null) throw this.#unknown(name);
    removeAt(this.#recordOf(name));
    rmSync(this.#copyOf(name, found.digest), { recursive: true, force: true });
  }

  /**
   * A skill, after its copy was held to what was trusted.
   * @param wanted the digest that a plan names; any without it
   * @throws ERR_SKILL_UNKNOWN, ERR_SKILL_CHANGED
   */
  open(name: string, wanted?: string): OwnSkill {
    const trusted = this.#read(name);
    if (trusted === null) throw this.#unknown(name);
    const { digest, at } = trusted;
    if (wanted !== undefined && wanted !== digest) {
      const text = `The skill ${name}: the plan was made for ${wanted}, and ${digest} is trusted now. Nothing of it was run. Make the plan again.`;
      throw new SovereignError("ERR_SKILL_CHANGED", text, { expected: wanted, found: digest });
    }
    const folder = this.#copyOf(name, digest);
    const found = this.#reread(name, folder);
    if (found.digest === digest && found.manifest.name === name) {
      return { manifest: found.manifest, digest, folder, at };
    }
    const text = `The skill ${name}: expected ${digest}, which was trusted, found ${found.digest} at ${folder}. Nothing of it was run. Look into who changed it, and trust it again: sovereign skills add FOLDER`;
    throw new SovereignError("ERR_SKILL_CHANGED", text, { expected: digest, found: found.digest });
  }

  #reread(name: string, folder: string): OwnFolder {
    try {
      return readOwnFolder(folder);
    } catch (cause) {
      if (!isSovereignError(cause, "ERR_SKILL_MANIFEST")) throw cause;
      const text = `The skill ${name} is not as it was trusted: ${cause.message} Nothing of it was run. Trust it again: sovereign skills add FOLDER`;
      throw new SovereignError("ERR_SKILL_CHANGED", text, {}, cause);
    }
  }

  #read(name: string): z.infer<typeof trustedSkill> | null {
    const path = NAME.test(name) ? this.#recordOf(name) : null;
    const bytes = path === null ? null : readOwnFile(path, RECORD_BYTES_MAX);
    if (bytes === null) return null;
    const found = trustedSkill.safeParse(parsed(bytes));
    const { tenant_id: tenant, name: of } = found.data ?? {};
    if (found.success && tenant === this.#tenant && of === name) return found.data;
    const text = `${path ?? ""}: expected the record of a trusted skill as it is written here. Trust it again: sovereign skills add FOLDER`;
    throw new SovereignError("ERR_SKILL_CHANGED", text);
  }

  #recordOf(name: string): string {
    return join(this.#folder, `${name}${SUFFIX}`);
  }

  #copyOf(name: string, digest: string): string {
    return join(this.#folder, `${name}-${digest}`);
  }

  #unknown(name: string): SovereignError {
    const said = quoted(cutText(name, 80));
    const text = `The tenant ${this.#tenant} trusts no skill ${said} of its own. Type: sovereign skills add FOLDER --tenant ${this.#tenant}`;
    return new SovereignError("ERR_SKILL_UNKNOWN", text);
  }
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return null;
  }
}

/** Whatever the umask says: the copy is read in a sandbox, by another user. */
function openFolders(folder: string): void {
  chmodSync(folder, 0o755);
  for (const one of readdirSync(folder, { withFileTypes: true })) {
    if (one.isDirectory()) openFolders(join(folder, one.name));
  }
}
