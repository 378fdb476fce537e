import {
  type ErrorCode,
  fields,
  type JsonObject,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { readPlainYaml } from "../policy/index.ts";

const DOOR = {
  bytesMax: 1024 * 1024,
  tooLarge: "ERR_BATCH_INVALID",
  syntax: "ERR_BATCH_INVALID",
} as const;

/** What is said about a batch, and kept with it. Never interpreted. */
const metadata = z
  .record(
    z.string().regex(/^[a-z][a-z0-9_]{0,40}$/, "expected 1 to 41 of a-z 0-9 _"),
    z.union([z.string().max(500), z.number(), z.boolean()]),
  )
  .refine((value) => Object.keys(value).length <= 32, "expected at most 32 entries");

/** One command, run in the sandbox with the batch's folder as /workspace. */
const action = z.strictObject({
  id: z.string().regex(/^[a-z][a-z0-9_-]{0,60}$/, "expected 1 to 61 of a-z 0-9 _ -"),
  argv: z.array(z.string().min(1).max(4096)).min(1).max(256),
  timeout_seconds: z.int().min(1).max(86_400).default(300),
});
export type BatchAction = z.infer<typeof action>;

/** What `executeBatch` is given besides the batch's name. */
export const batchContent = z.strictObject({
  actions: z
    .array(action)
    .min(1)
    .max(1000)
    .refine(
      (actions) => new Set(actions.map(({ id }) => id)).size === actions.length,
      "expected ids that are unique in the batch",
    ),
  metadata: metadata.default({}),
});
export type BatchContent = z.infer<typeof batchContent>;

export const batchId = z
  .string()
  .regex(/^[a-z][a-z0-9_.-]{0,62}$/, "expected 1 to 63 of a-z 0-9 _ . -, starting with a letter");

/** A batch as people write it, in YAML or JSON. */
export const batchFile = z.strictObject({
  ...batchContent.shape,
  schema_version: fields.schemaVersion,
  batch_id: batchId,
  /** A policy's file, relative to this one. */
  policy: z.string().min(1).max(1024),
  /** The role whose key signs for the actions. */
  role: fields.name.default("runner"),
  /** A folder, relative to this file, which the commands see read-only as /input. */
  input: z.string().min(1).max(1024).optional(),
});
export type BatchFile = z.infer<typeof batchFile>;

/** Read a batch file. @param bytes untrusted @throws ERR_BATCH_INVALID */
export function parseBatchFile(bytes: Uint8Array, name: string): BatchFile {
  const { value } = readPlainYaml(bytes, name, DOOR);
  return parseFormat(batchFile, value, name, INVALID);
}

/**
 * Check what a program gives, and keep a copy of it: what it holds it may change, and a getter may
 * answer otherwise the next time.
 *
 * @throws ERR_BATCH_INVALID
 */
export function parseBatchContent(id: string, value: unknown): BatchContent {
  parseFormat(batchId, id, "batch id", INVALID);
  let own: unknown;
  try {
    own = structuredClone(value);
  } catch (cause) {
    const text = `batch ${id}: expected plain lists, objects and texts, found what cannot be copied.`;
    throw new SovereignError(INVALID, text, {}, cause);
  }
  return parseFormat(batchContent, own, `batch ${id}`, INVALID);
}

/** The kernel's parameters of an action. */
export function paramsOf({ argv, timeout_seconds }: BatchAction): JsonObject {
  return { argv: argv.slice(1), cwd: "", timeout_seconds };
}

const INVALID: ErrorCode = "ERR_BATCH_INVALID";
