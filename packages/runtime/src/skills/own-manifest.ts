import {
  fields,
  isSovereignError,
  type JsonObject,
  parseFormat,
  quoted,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { parseHost, readPlainYaml } from "../policy/index.ts";
import { ownSchema } from "./own-schema.ts";

const DOOR = {
  bytesMax: 64 * 1024,
  tooLarge: "ERR_SKILL_MANIFEST",
  syntax: "ERR_SKILL_MANIFEST",
} as const;

/** People read it on a terminal. */
const PLAIN = /^[^\p{Cc}\p{Cf}]*$/u;

const manifest = z.strictObject({
  schema_version: fields.schemaVersion.default("1.0.0"),
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,59}$/, "expected 1 to 60 of a-z 0-9 _, starting with a letter"),
  version: z.string().regex(/^\d{1,6}\.\d{1,6}\.\d{1,6}$/, "expected a version such as 1.0.0"),
  text: z.string().min(1).max(200).regex(PLAIN),
  /** `node`, a program of the system, or `./PROGRAM` of the folder; then its words. */
  command: z.array(z.string().min(1).max(200).regex(PLAIN)).min(1).max(32),
  /** The one host that it may reach; none without it. */
  host: z.string().max(260).optional(),
  /** Where in its input secrets may be referred to: names joined by dots, `*` for any. */
  secrets: z
    .array(z.string().regex(/^(?:[A-Za-z0-9_-]{1,60}|\*)(?:\.(?:[A-Za-z0-9_-]{1,60}|\*)){0,2}$/))
    .max(16)
    .default([]),
  /** JSON Schemas. */
  input: z.record(z.string(), fields.json),
  output: z.record(z.string(), fields.json),
});

/** What a skill of one's own says of itself, and its schemas ready for use. */
export interface OwnManifest {
  readonly name: string;
  readonly version: string;
  readonly text: string;
  readonly command: readonly [string, ...string[]];
  /** As policies name it. */
  readonly host: string | null;
  readonly secrets: readonly string[];
  readonly input: z.ZodType;
  readonly output: z.ZodType;
  readonly schemas: { readonly input: JsonObject; readonly output: JsonObject };
}

/**
 * Read a skill's manifest.
 * @param bytes of `skill.yaml`: untrusted
 * @param path for messages
 * @param files what lies in its folder: paths with `/`
 * @throws ERR_SKILL_MANIFEST
 */
export function readManifest(
  bytes: Uint8Array,
  path: string,
  files: ReadonlySet<string>,
): OwnManifest {
  const { value } = readPlainYaml(bytes, path, DOOR);
  const found = parseFormat(manifest, value, path, "ERR_SKILL_MANIFEST");
  const { name, version, text, secrets } = found;
  const host = found.host === undefined ? null : hostOf(found.host, path);
  if (host === null && secrets.length > 0) {
    throw refused(path, "expected no secrets: the skill names no host to which one is sent");
  }
  return {
    ...{ name, version, text, host, secrets },
    command: checkCommand(found.command, files, path),
    input: schemaOf(found.input, `${path}: input`),
    output: schemaOf(found.output, `${path}: output`),
    schemas: { input: found.input, output: found.output },
  };
}

/** Its words lead to nothing outside the folder, but for the system's own programs. */
function checkCommand(
  words: readonly string[],
  files: ReadonlySet<string>,
  path: string,
): readonly [string, ...string[]] {
  const [program = "", ...rest] = words;
  const outside = words.find((word) => word.startsWith("/") || word.split("/").includes(".."));
  if (outside !== undefined) {
    throw refused(
      path,
      `the command names ${quoted(outside)}: expected what lies in the skill's folder`,
    );
  }
  if (program.includes("/") && !files.has(program.replace(/^\.\//, ""))) {
    throw refused(
      path,
      `the command's program ${quoted(program)} is no file of the skill's folder`,
    );
  }
  return [program, ...rest];
}

function hostOf(text: string, path: string): string {
  try {
    const { name, port } = parseHost(text);
    return port === null || port === "443" ? name : `${name}:${port}`;
  } catch (error) {
    if (!isSovereignError(error, "ERR_HOST_REFUSED")) throw error;
    throw refused(path, `host: ${error.message}`);
  }
}

function schemaOf(schema: JsonObject, where: string): z.ZodType {
  try {
    return ownSchema(schema);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 200) : "it cannot be used";
    const text = `${where}: expected a JSON Schema: ${why}`;
    throw new SovereignError("ERR_SKILL_MANIFEST", text, {}, cause);
  }
}

function refused(path: string, why: string): SovereignError {
  return new SovereignError("ERR_SKILL_MANIFEST", `${path}: ${why}.`);
}
