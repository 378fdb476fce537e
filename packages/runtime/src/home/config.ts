import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { readOwnFile } from "../system/index.ts";
import { readPlainYaml } from "../policy/index.ts";
import { parseScramConfig, type ScramConfig } from "../scram/index.ts";

/** The settings of an installation. */
export interface Config {
  readonly scram: ScramConfig;
}

/**
 * The settings for whoever must be able to stop whatever stands in the place of the configuration:
 * then those of the law hold. No work begins meanwhile, because {@link loadConfig} refuses.
 *
 * @param onRefusal told why the configuration does not hold
 */
export function loadSwitchConfig(home: string, onRefusal: (why: string) => void): ScramConfig {
  try {
    return loadConfig(home).scram;
  } catch (error) {
    onRefusal(error instanceof Error ? error.message : "config.yaml cannot be read");
    return parseScramConfig(undefined);
  }
}

/**
 * Read `config.yaml` of a data folder. Without one, the defaults hold.
 *
 * @throws ERR_SCRAM_CONFIG, ERR_DATA_FOLDER
 */
export function loadConfig(home: string): Config {
  const path = join(home, "config.yaml");
  const bytes = readOwnFile(path, DOOR.bytesMax);
  const value: unknown = bytes === null ? {} : readPlainYaml(bytes, path, DOOR).value;
  const sections = (value ?? {}) as Record<string, unknown>;
  const unknown = Object.keys(sections).find((name) => name !== "scram");
  if (typeof sections !== "object" || Array.isArray(sections) || unknown !== undefined) {
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
