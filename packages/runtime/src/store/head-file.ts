import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fields, parseFormat, parseStrictJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import { readOwnFile, replaceOwnFile } from "../system/index.ts";

const BYTES_MAX = 4096;
/** A head of a log, by its size; one of before has no size in its name. */
const NAME = /^(.+)\.head(?:\.([0-9]{1,16}))?\.json$/;

const head = z.strictObject({ size: fields.count, root: fields.digest });
export type SignedHead = z.infer<typeof head>;

/** The last signed head of each log that has one. @throws ERR_LEDGER_ROLLED_BACK */
export function readHeads(folder: string): Map<string, SignedHead> {
  const found = new Map<string, SignedHead>();
  for (const name of readdirSync(folder)) {
    const log = NAME.exec(name)?.[1];
    if (log === undefined || found.has(log)) continue;
    const last = new HeadFile(folder, log).read();
    if (last !== null) found.set(log, last);
  }
  return found;
}

/**
 * The last signed head of a log, in a file outside the database.
 *
 * INVARIANT: it never becomes smaller, whoever writes it at once and is killed. Each head has a file of
 * its own, the largest is the one that counts, and whoever wrote one removes smaller ones alone.
 */
export class HeadFile {
  readonly #folder: string;
  readonly #log: string;

  constructor(folder: string, log: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    this.#log = log;
  }

  /** Where the one stands that counts; where the first will stand if there is none. */
  get path(): string {
    return join(this.#folder, this.#files().at(-1)?.name ?? `${this.#log}.head.json`);
  }

  /** @throws ERR_LEDGER_ROLLED_BACK when the file is there but is not a head */
  read(): SignedHead | null {
    for (;;) {
      const files = this.#files();
      const heads = files.map(({ name, size }) => this.#readOne(name, size));
      // One that is gone by now was removed by whoever wrote a larger one.
      if (heads.includes(null)) continue;
      return heads.reduce(
        (last, one) => ((one?.size ?? -1) > (last?.size ?? -1) ? one : last),
        null,
      );
    }
  }

  #readOne(name: string, size: number | null): SignedHead | null {
    const path = join(this.#folder, name);
    try {
      const bytes = readOwnFile(path, BYTES_MAX);
      if (bytes === null) return null;
      const found = parseFormat(head, parseStrictJson(bytes), "signed head");
      if (size === null || found.size === size) return found;
      throw new Error(`It says ${found.size} entries`);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "unknown";
      const text = `${path} is damaged: it should hold the last signed head. ${why}. Type: sovereign repair ledger`;
      throw new SovereignError("ERR_LEDGER_ROLLED_BACK", text, { path }, cause);
    }
  }

  /** On the disk when this returns. */
  write(signed: SignedHead): void {
    replaceOwnFile(this.#pathOf(signed.size), JSON.stringify(signed));
    for (const { name, size } of this.#files()) {
      const isSmaller = (size ?? this.#readOne(name, null)?.size ?? 0) < signed.size;
      if (isSmaller) rmSync(join(this.#folder, name), { force: true });
    }
  }

  /** Put what stands there aside, whatever it says. @param mark goes into the names */
  setAside(mark: string): void {
    for (const { name } of this.#files()) {
      const path = join(this.#folder, name);
      renameSync(path, `${path}.set-aside-${mark}`);
    }
  }

  #pathOf(size: number): string {
    return join(this.#folder, `${this.#log}.head.${size}.json`);
  }

  /** The smallest first; one of before goes before all others. */
  #files(): { readonly name: string; readonly size: number | null }[] {
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder)
      .flatMap((name) => {
        const [, log, size] = NAME.exec(name) ?? [];
        if (log !== this.#log) return [];
        return [{ name, size: size === undefined ? null : Number(size) }];
      })
      .sort((one, other) => (one.size ?? -1) - (other.size ?? -1));
  }
}
