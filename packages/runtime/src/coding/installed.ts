import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fields, parseFormat, parseStrictJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import type { AgentAdapter, AgentProgram } from "./adapter.ts";

const manifest = z.looseObject({ name: z.string(), version: z.string().max(60) });

/**
 * Find an agent's program in a folder of installed packages. Its version is that of its package; what
 * the program says of itself is believed by nobody.
 *
 * @param folder a `node_modules`
 * @throws ERR_AGENT_MISSING, ERR_AGENT_VERSION
 */
export function findProgram(
  adapter: AgentAdapter,
  folder: string,
  architecture: string = process.arch,
): AgentProgram {
  const { package: name, file } = adapter.program(architecture);
  const path = join(folder, name, file);
  const about = join(folder, name, "package.json");
  if (!existsSync(path) || !existsSync(about)) throw missing(adapter, folder);
  const { version } = parseFormat(manifest, parseStrictJson(readFileSync(about)), about);
  if (!isWithin(version, adapter.versions)) throw untested(adapter, version);
  return { path, version };
}

/** SHA-256 of the program's bytes. */
export async function digestOfProgram({ path }: AgentProgram): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return parseFormat(fields.digest, hash.digest("hex"), "digest");
}

/** How to get it, in one line. */
export function installCommand({ package: name, versions }: AgentAdapter): string {
  return `npm run agents:install (or: npm install --ignore-scripts --prefix FOLDER ${name}@${versions.to}, and SOVEREIGN_AGENTS=FOLDER/node_modules)`;
}

function missing(adapter: AgentAdapter, folder: string): SovereignError {
  const text = `Expected ${adapter.package} in ${folder}, found none. Type: ${installCommand(adapter)}`;
  return new SovereignError("ERR_AGENT_MISSING", text, { agent: adapter.name });
}

function untested(adapter: AgentAdapter, version: string): SovereignError {
  const { from, to } = adapter.versions;
  const text = `Expected ${adapter.package} from ${from} to ${to}, which are tested, found ${version}. Type: ${installCommand(adapter)}`;
  return new SovereignError("ERR_AGENT_VERSION", text, { agent: adapter.name, version });
}

function isWithin(version: string, { from, to }: AgentAdapter["versions"]): boolean {
  const found = numbers(version);
  return found !== null && compare(found, numbers(from)) >= 0 && compare(found, numbers(to)) <= 0;
}

/** Of `1.2.3`; what is before a release, or has a name, is no version that was tested. */
function numbers(version: string): number[] | null {
  return /^\d{1,6}\.\d{1,6}\.\d{1,6}$/.test(version) ? version.split(".").map(Number) : null;
}

function compare(one: readonly number[], other: readonly number[] | null): number {
  for (const [at, part] of one.entries()) {
    const difference = part - (other?.[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
