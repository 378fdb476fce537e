import { parseStrictJson, SovereignError, utf8Decode } from "@sovereign/core";
import { readPlainYaml, type YamlFile } from "./plain-yaml.ts";
import { textPlace } from "./text-place.ts";

const YAML_DOOR = {
  bytesMax: 256 * 1024,
  tooLarge: "ERR_POLICY_TOO_LARGE",
  syntax: "ERR_POLICY_SYNTAX",
} as const;

/**
 * Read a file of the policy's own, with the place of each part of it for messages. `.json` is JSON,
 * every other name YAML.
 *
 * @param bytes untrusted
 * @throws ERR_POLICY_TOO_LARGE, ERR_POLICY_SYNTAX
 */
export function readPolicySource(bytes: Uint8Array, path: string): YamlFile {
  if (!path.endsWith(".json")) return readPlainYaml(bytes, path, YAML_DOOR);
  const value = readJson(bytes, path);
  let places: YamlFile | null | undefined;
  return {
    value,
    placeOf: (at) => {
      if (places === undefined) places = placesOf(bytes, path);
      return places?.placeOf(at) ?? path;
    },
  };
}

/** JSON is read as YAML a second time, for the places alone; what YAML refuses has none. */
function placesOf(bytes: Uint8Array, path: string): YamlFile | null {
  try {
    return readPlainYaml(bytes, path, { ...YAML_DOOR, bytesMax: bytes.length });
  } catch (error) {
    if (error instanceof SovereignError) return null;
    throw error;
  }
}

function readJson(bytes: Uint8Array, path: string): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    const isOurs = cause instanceof SovereignError;
    const at = isOurs ? cause.details["at"] : undefined;
    const place = typeof at === "number" ? textPlace(path, utf8Decode(bytes), at) : path;
    const found = isOurs ? cause.message : "not JSON";
    throw new SovereignError("ERR_POLICY_SYNTAX", `${place}: ${found}`, { place }, cause);
  }
}
