import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fields, parseFormat, parseStrictJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import { readOwnFile, replaceOwnFile } from "../system/index.ts";

const BYTES_MAX = 4096;

const head = z.strictObject({ size: fields.count, root: fields.digest });
export type SignedHead = z.infer<typeof head>;

/** The last signed head of a log, in a file outside the database. */
export class HeadFile {
  readonly path: string;

  constructor(folder: string, log: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.path = join(folder, `${log}.head.json`);
  }

  /** @throws ERR_LEDGER_ROLLED_BACK when the file is there but is not a head */
  read(): SignedHead | null {
    try {
      const bytes = readOwnFile(this.path, BYTES_MAX);
      return bytes === null ? null : parseFormat(head, parseStrictJson(bytes), "signed head");
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "unknown";
      const text = `${this.path} is damaged: it should hold the last signed head. ${why}. Type: sovereign repair ledger`;
      throw new SovereignError("ERR_LEDGER_ROLLED_BACK", text, { path: this.path }, cause);
    }
  }

  write(signed: SignedHead): void {
    replaceOwnFile(this.path, JSON.stringify(signed));
  }
}
