import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { readPlainYaml } from "../policy/index.ts";
import { parseScramConfig, type ScramConfig } from "../scram/index.ts";

/** The settings of an installation. */
export interface Config {
  readonly scram: ScramConfig;
}

/**
 * Read `config.yaml` of a data folder. Without one, the defaults hold.
 *
 * @throws ERR_SCRAM_CONFIG, ERR_DATA_FOLDER
 */
export function loadConfig(home: string): Config {
  const path = join(home, "config.yaml");
  const value: unknown = existsSync(path)
    ? readPlainYaml(readFileSync(path), path, DOOR).value
    : {};
  const sections = (value ?? {}) as Record<string, unknown>;
  const unknown = Object.keys(sections).find((name) => name !== "scram");
  if (typeof sections !== "object" || unknown !== undefined) {
    const found = unknown === undefined ? "something else" : `"${unknown}"`;
    throw malformed(path, `expected sections, of which "scram" is known, found ${found}`);
  }
  return { scram: parseScramConfig(sections["scram"]) };
}

const DOOR = {
  bytesMax: 64 * 1024,
  tooLarge: "ERR_DATA_FOLDER",
  syntax: "ERR_DATA_FOLDER",
} as const;

function malformed(path: string, why: string): SovereignError {
  return new SovereignError("ERR_DATA_FOLDER", `Cannot use ${path}: ${why}.`, { path });
}
