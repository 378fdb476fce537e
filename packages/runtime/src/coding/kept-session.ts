import { lstatSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  isSovereignError,
  parseFormat,
  parseStrictJson,
} from "@sovereign/core";
import { z } from "zod";
import { removeHostile } from "../executor/index.ts";
import { readOwnFile, replaceOwnFile } from "../system/index.ts";

/** What agents call a conversation: it stands among the words of a command. */
const session = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/, "expected a conversation's id");

const format = z.strictObject({
  agent: z.string().max(60),
  /** Of the program: another version may not read what this one wrote. */
  program_sha256: fields.digest,
  session,
  /** The tree that it worked in, in which its files are. */
  root: z.string().max(4096),
});

/** An agent's conversation that an earlier attempt of the run left. */
export type KeptSession = z.infer<typeof format>;

const FILE = "session.json";
const BYTES_MAX = 64 * 1024;
const STATE = "session";

/**
 * Where an agent keeps its conversation, and what it is called. The agent writes to the folder, so what
 * is in it is untrusted; the file beside it is ours.
 */
export class SessionKeeper {
  readonly #folder: string;
  readonly #keeps: readonly string[] | null;

  /**
   * @param folder of the run's work
   * @param keeps the names that an agent's conversation has; null for one that starts again
   */
  constructor(folder: string, keeps: readonly string[] | null) {
    this.#folder = folder;
    this.#keeps = keeps;
  }

  get state(): string {
    return join(this.#folder, STATE);
  }

  /** Have an empty folder: the conversation begins. */
  async begin(): Promise<void> {
    rmSync(join(this.#folder, FILE), { force: true });
    await remove(this.state);
    mkdirSync(this.state, { recursive: true, mode: 0o755 });
  }

  /**
   * What an earlier attempt left, and of its folder only what is the conversation: settings that the
   * agent wrote for itself are gone.
   *
   * @returns null where there is nothing to go on with
   */
  async find(agent: string, programSha256: string): Promise<KeptSession | null> {
    const found = this.#read();
    const keeps = this.#keeps;
    if (found === null || keeps === null) return null;
    if (found.agent !== agent || found.program_sha256 !== programSha256) return null;
    const left = lstatSync(this.state, { throwIfNoEntry: false });
    const tree = lstatSync(found.root, { throwIfNoEntry: false });
    if (left?.isDirectory() !== true || tree?.isDirectory() !== true) return null;
    const names = readdirSync(this.state);
    if (!keeps.every((name) => isFolder(join(this.state, name)))) return null;
    for (const name of names.filter((one) => !keeps.includes(one))) {
      await remove(join(this.state, name));
    }
    return found;
  }

  /** What is damaged is none: the agent starts again. */
  #read(): KeptSession | null {
    try {
      const bytes = readOwnFile(join(this.#folder, FILE), BYTES_MAX);
      return bytes === null ? null : parseFormat(format, parseStrictJson(bytes), FILE);
    } catch (error) {
      if (isSovereignError(error)) return null;
      throw error;
    }
  }

  /** Durable when it returns. What an agent calls its conversation is untrusted. */
  keep(kept: KeptSession): void {
    const { success, data } = format.safeParse(kept);
    if (success && this.#keeps !== null) {
      replaceOwnFile(join(this.#folder, FILE), canonicalBytes(data));
    }
  }
}

/** A link is removed, and not what it leads to. */
async function remove(path: string): Promise<void> {
  if (isFolder(path)) await removeHostile(path);
  else rmSync(path, { force: true });
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
