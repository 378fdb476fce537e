import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import {
  readOwnFile,
  newId,
  systemEntropy,
  replaceOwnFile,
  placeOwnFile,
} from "../system/index.ts";

const BYTES_MAX = 4096;

const nodeFile = z.strictObject({
  node_id: fields.nodeId,
  /** Whether other machines may use the database: then work needs a lease. */
  shared: z.boolean(),
  /** Where it stands in the installation's log that this node belongs to it; null before. */
  joined: z
    .strictObject({ at: fields.timestamp, index: fields.count, hash: fields.digest })
    .nullable(),
});

export type NodeFile = z.infer<typeof nodeFile>;

/** Whether the data folder's database is one that other machines may use. False where none was. */
export function isShared(root: string): boolean {
  try {
    return readNodeFile(root)?.shared ?? false;
  } catch {
    // In doubt there are others: then nothing runs here that does not hear of them.
    return true;
  }
}

export function readNodeFile(root: string): NodeFile | null {
  const path = pathOf(root);
  try {
    const bytes = readOwnFile(path, BYTES_MAX);
    return bytes === null ? null : parseFormat(nodeFile, parseStrictJson(bytes), path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unreadable";
    const text = `Cannot use ${path}: ${why.replace(`${path}: `, "").replace(/\.$/, "")}. It says which machine of the installation this is. Put it back from a copy of this very folder; or move it away, and the folder joins as a new machine.`;
    throw new SovereignError("ERR_DATA_FOLDER", text, { path }, cause);
  }
}

/** The id stands in the folder before it stands in the log: a crash in between makes no second. */
export function makeNodeFile(root: string, shared: boolean): NodeFile {
  const made: NodeFile = { node_id: newId("nod_", systemEntropy), shared, joined: null };
  // Where another process was quicker, its id is the one.
  return placeOwnFile(pathOf(root), canonicalBytes(made)) ? made : (readNodeFile(root) ?? made);
}

export function replaceNodeFile(root: string, node: NodeFile): void {
  replaceOwnFile(pathOf(root), canonicalBytes(node));
}

function pathOf(root: string): string {
  return join(root, "node.json");
}
