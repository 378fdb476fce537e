import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fields, parseFormat, parseStrictJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import type { AgentPackages, AgentProgram, InstalledAgent } from "./adapter.ts";

const manifest = z.looseObject({ name: z.string(), version: z.string().max(60) });

/**
 * Find an agent's program in a folder of installed packages. Its version is that of its package; what
 * the program says of itself is believed by nobody.
 *
 * @param folder a `node_modules`
 * @throws ERR_AGENT_MISSING, ERR_AGENT_VERSION
 */
export function findProgram(
  adapter: InstalledAgent,
  folder: string,
  architecture: string = process.arch,
): AgentProgram {
  const { package: name, file, suffix = "", beside = [] } = adapter.packages.program(architecture);
  const path = join(folder, name, file);
  const about = join(folder, name, "package.json");
  const files = [about, path, ...beside.map((one) => join(dirname(path), one))];
  if (!files.every((one) => existsSync(one))) throw missing(adapter, folder);
  const { version: told } = parseFormat(manifest, parseStrictJson(readFileSync(about)), about);
  const version = told.endsWith(suffix) ? told.slice(0, told.length - suffix.length) : told;
  if (!isWithin(version, adapter.packages.versions)) throw untested(adapter, version);
  return { path, version, beside, mountedAt: adapter.mountedAt, command: [] };
}

/** SHA-256 of the program's bytes, and of what is beside it. */
export async function digestOfProgram({ path, beside }: AgentProgram): Promise<string> {
  const hash = createHash("sha256");
  for (const file of [path, ...beside.map((one) => join(dirname(path), one))]) {
    const bytes = createReadStream(file, { highWaterMark: 1024 * 1024 });
    for await (const part of bytes as AsyncIterable<Buffer>) hash.update(part);
  }
  return parseFormat(fields.digest, hash.digest("hex"), "digest");
}

/** How to get it, in one line. */
export function installCommand({ packages }: InstalledAgent): string {
  const { package: name, versions } = packages;
  return `npm run agents:install (or: npm install --ignore-scripts --prefix FOLDER ${name}@${versions.to}, and SOVEREIGN_AGENTS=FOLDER/node_modules)`;
}

function missing(adapter: InstalledAgent, folder: string): SovereignError {
  const text = `Expected ${adapter.packages.package} in ${folder}, found none. Type: ${installCommand(adapter)}`;
  return new SovereignError("ERR_AGENT_MISSING", text, { agent: adapter.name });
}

function untested(adapter: InstalledAgent, version: string): SovereignError {
  const { from, to } = adapter.packages.versions;
  const text = `Expected ${adapter.packages.package} from ${from} to ${to}, which are tested, found ${version}. Type: ${installCommand(adapter)}`;
  return new SovereignError("ERR_AGENT_VERSION", text, { agent: adapter.name, version });
}

function isWithin(version: string, { from, to }: AgentPackages["versions"]): boolean {
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
