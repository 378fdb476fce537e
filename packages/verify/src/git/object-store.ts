import { existsSync, readdirSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { isSovereignError } from "@sovereign/core";
import { Budget, OBJECT_BYTES_MAX } from "./budget.ts";
import { ByteCache } from "./byte-cache.ts";
import { latin1, readGitFile, readGitText } from "./git-file.ts";
import { corrupt, missing, tooMuch } from "./git-problem.ts";
import {
  type GitObject,
  ID_BYTES,
  isObjectType,
  objectId,
  type ObjectFormat,
  type ObjectType,
} from "./object-id.ts";
import { Pack, type PackStore } from "./pack.ts";
import { unpackWithin } from "./unpack.ts";

/** What git follows at most. */
const ALTERNATES_DEPTH_MAX = 5;
const ALTERNATES_MAX = 100;
const PACKS_MAX = 4000;
const HEADER_BYTES_MAX = 32;
const SMALL_FILE_BYTES_MAX = 1024 * 1024;

/** A pack whose index cannot be read may be the one that has what is looked for. */
type OpenPack =
  | { readonly pack: Pack; readonly problem: null }
  | { readonly pack: null; readonly problem: unknown };

/** A repository's objects: loose, packed, and those of the repositories that it borrows from. */
export class ObjectStore {
  readonly format: ObjectFormat;
  readonly #folders: readonly string[];
  readonly #budget: Budget;
  readonly #cache = new ByteCache();
  #packs: readonly OpenPack[] | null = null;

  /** @param folder the folder `objects`. @throws ERR_GIT_OBJECT_LIMIT for too many alternates */
  constructor(folder: string, format: ObjectFormat, budget: Budget = new Budget()) {
    this.format = format;
    this.#budget = budget;
    this.#folders = withAlternates(folder);
  }

  /**
   * An object, whose bytes give its id.
   *
   * @param type what it must be
   * @throws ERR_GIT_OBJECT_MISSING, ERR_GIT_OBJECT_CORRUPT, ERR_GIT_OBJECT_LIMIT
   */
  read(id: string, type: ObjectType): Uint8Array {
    const found = this.find(id);
    if (found === null) throw missing(`the ${type} ${id}`);
    if (found.type === type) return found.bytes;
    throw corrupt(`${id} is a ${found.type} where a ${type} should be`);
  }

  /** The same, of any type. @returns null when it is nowhere */
  find(id: string): GitObject | null {
    let problem: unknown = null;
    for (const look of this.#places(id)) {
      try {
        const found = look();
        if (found === null) continue;
        if (objectId(this.format, found) === id) return found;
        problem ??= corrupt(`what stands for ${id} is another object`);
      } catch (error) {
        // A damaged copy is no matter where a good one is found; a limit holds for all of them.
        if (!isSovereignError(error, "ERR_GIT_OBJECT_CORRUPT")) throw error;
        problem ??= error;
      }
    }
    if (problem !== null) throw problem as Error;
    return null;
  }

  close(): void {
    for (const { pack } of this.#packs ?? []) pack?.close();
    this.#packs = null;
  }

  *#places(id: string): Generator<() => GitObject | null> {
    for (const folder of this.#folders) yield () => this.#loose(folder, id);
    for (const { pack, problem } of this.#openPacks()) {
      yield () => {
        if (pack === null) throw problem as Error;
        return pack.read(id);
      };
    }
  }

  #loose(folder: string, id: string): GitObject | null {
    const path = join(folder, id.slice(0, 2), id.slice(2));
    const packed = readGitFile(path, OBJECT_BYTES_MAX);
    if (packed === null) return null;
    const bytes = unpackWithin(packed, OBJECT_BYTES_MAX + HEADER_BYTES_MAX, path);
    this.#budget.spend(bytes.length);
    const end = bytes.subarray(0, HEADER_BYTES_MAX).indexOf(0);
    const header = latin1(bytes.subarray(0, Math.max(0, end)));
    const [, type, size] = /^([a-z]+) (0|[1-9]\d*)$/.exec(header) ?? [];
    const content = bytes.subarray(end + 1);
    if (isObjectType(type) && Number(size) === content.length) return { type, bytes: content };
    throw corrupt(`${path} is no object`);
  }

  #openPacks(): readonly OpenPack[] {
    this.#packs ??= this.#folders.flatMap(packsOf).map((path) => {
      try {
        return { pack: new Pack(path, this.#packStore), problem: null };
      } catch (problem) {
        return { pack: null, problem };
      }
    });
    if (this.#packs.length > PACKS_MAX) {
      throw tooMuch(`it has more than ${PACKS_MAX} packs: try git gc`);
    }
    return this.#packs;
  }

  get #packStore(): PackStore {
    return {
      idBytes: ID_BYTES[this.format],
      budget: this.#budget,
      cache: this.#cache,
    };
  }
}

function packsOf(folder: string): string[] {
  const packs = join(folder, "pack");
  if (!existsSync(packs)) return [];
  return readdirSync(packs)
    .filter((name) => /^pack-[0-9a-zA-Z]{1,64}\.idx$/.test(name))
    .sort()
    .map((name) => join(packs, name.slice(0, -".idx".length)));
}

/** The folder and all that it borrows from, each once, however they point at each other. */
function withAlternates(folder: string): string[] {
  const found = new Set<string>();
  const visit = (at: string, depth: number): void => {
    const real = realOrNull(at);
    if (real === null || found.has(real)) return;
    if (depth > ALTERNATES_DEPTH_MAX || found.size >= ALTERNATES_MAX) {
      throw tooMuch("it borrows objects through too many repositories");
    }
    found.add(real);
    const text = readGitText(join(real, "info", "alternates"), SMALL_FILE_BYTES_MAX) ?? "";
    for (const line of text.split("\n")) {
      if (line === "" || line.startsWith("#")) continue;
      visit(resolve(real, Buffer.from(unquoted(line), "latin1").toString("utf8")), depth + 1);
    }
  };
  visit(folder, 0);
  return [...found];
}

function unquoted(line: string): string {
  const inner = /^"(.*)"$/.exec(line)?.[1];
  return inner === undefined ? line : inner.replaceAll(/\\(["\\])/g, "$1");
}

function realOrNull(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}
