import { hostname } from "node:os";
import {
  fields,
  formats,
  INSTALLATION_LOG,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { type Clock, timestampOf } from "../../system/index.ts";
import { createEntry } from "../../ledger/index.ts";
import type { Store } from "../../store/index.ts";
import { type NodeFile, readNodeFile, makeNodeFile, replaceNodeFile } from "../../home/index.ts";

/** The stream of the installation's log in which each node says that it belongs to it. */
const STREAM = "nodes";
const JOINED = "node.joined";
const ATTEMPTS = 20;

const joinedEntry = z.strictObject({
  node_id: fields.nodeId,
  installation_id: fields.installationId,
  host: z.string().max(255),
});

/** One machine of an installation: this data folder, with its sentinel. */
export interface SovereignNode {
  readonly id: string;
  /** The stream of the installation's log that takes its kill switch's journal in. */
  readonly stream: string;
  /** Where it joined: what stands before concerns it no more. */
  readonly joined: { readonly at: string; readonly index: number; readonly hash: string };
}

/** One node as the installation's log has it. */
export interface JoinedNode {
  readonly nodeId: string;
  readonly installationId: string;
  readonly host: string;
  readonly at: string;
  readonly index: number;
  readonly hash: string;
}

/** The name of a node's stream for the journal of its kill switch. */
export function scramStreamOf(nodeId: string): string {
  return `scram/${nodeId}`;
}

/** The stream of the node that a data folder is; null where it is none yet. */
export function ownStream(root: string): string | null {
  const file = readNodeFile(root);
  return file === null ? null : scramStreamOf(file.node_id);
}

/**
 * The nodes that joined, in order.
 * @throws ERR_NODE_OTHER_INSTALLATION when the database is another installation's
 */
export async function readNodes(store: Store, installationId: string): Promise<JoinedNode[]> {
  const nodes: JoinedNode[] = [];
  for await (const { bytes, index, hash } of store.readStream(INSTALLATION_LOG, STREAM)) {
    const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "node entry");
    if (entry.event_type !== JOINED) continue;
    const joined = parseFormat(joinedEntry, entry.data, JOINED);
    if (joined.installation_id !== installationId) {
      const other = joined.installation_id;
      throw new SovereignError(
        "ERR_NODE_OTHER_INSTALLATION",
        `The database belongs to installation ${other}, this data folder to ${installationId}. Use a database of its own, or make an empty data folder a node of that installation with: sovereign nodes join FILE`,
        { database: other, folder: installationId },
      );
    }
    nodes.push({
      nodeId: joined.node_id,
      installationId,
      host: joined.host,
      at: entry.timestamp,
      index,
      hash,
    });
  }
  return nodes;
}

/**
 * The node that this data folder is, made and recorded where it is new.
 *
 * @param nodes as {@link readNodes} found them
 * @throws ERR_NODE_UNKNOWN when the node joined what this database does not hold
 */
export async function joinNode(
  store: Store,
  root: string,
  installationId: string,
  nodes: readonly JoinedNode[],
  clock: Clock,
): Promise<SovereignNode> {
  const file = readNodeFile(root) ?? makeNodeFile(root, store.shared);
  const { node_id: id } = file;
  const isUs = ({ nodeId }: JoinedNode): boolean => nodeId === id;
  let known = nodes.find(isUs);
  // Another process of this folder may have joined since they were read.
  if (file.joined !== null) known ??= (await readNodes(store, installationId)).find(isUs);
  if (file.joined !== null && known?.hash !== file.joined.hash) {
    throw new SovereignError(
      "ERR_NODE_UNKNOWN",
      `Node ${id} joined at entry ${file.joined.index} of the installation's log, which this database does not hold: it is another one, or was set back. Use the database that belongs to ${root}.`,
      { node: id },
    );
  }
  const joined = known ?? (await recordJoining(store, id, installationId, clock));
  const { at, index, hash } = joined;
  const now: NodeFile = { node_id: id, shared: store.shared, joined: { at, index, hash } };
  if (file.joined === null || file.shared !== store.shared) replaceNodeFile(root, now);
  return { id, stream: scramStreamOf(id), joined: { at, index, hash } };
}

/** Another process of this node may be as quick: then what it recorded counts. */
async function recordJoining(
  store: Store,
  nodeId: string,
  installationId: string,
  clock: Clock,
): Promise<Pick<JoinedNode, "at" | "index" | "hash">> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const head = await store.streamHead(INSTALLATION_LOG, STREAM);
    const nodes = await readNodes(store, installationId);
    const known = nodes.find((node) => node.nodeId === nodeId);
    if (known !== undefined) return known;
    const at = timestampOf(clock);
    const { bytes, hash } = createEntry(head, {
      stream: STREAM,
      tenantId: INSTALLATION_LOG,
      runId: null,
      timestamp: at,
      eventType: JOINED,
      severity: "INFO",
      data: { node_id: nodeId, installation_id: installationId, host: hostname().slice(0, 255) },
    });
    const verdict = await store.commit({
      log: INSTALLATION_LOG,
      stream: STREAM,
      expectedHead: head,
      entries: [{ bytes, hash }],
    });
    if (verdict.status === "committed") return { at, index: verdict.firstIndex, hash };
  }
  const text = "Other nodes wrote first each time. Nothing was recorded; try again.";
  throw new SovereignError("ERR_STREAM_CONFLICT", text);
}
