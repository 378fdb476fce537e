import { z } from "zod";
import { apiToken, tokenId } from "./api.ts";
import {
  count,
  digest,
  installationId,
  json,
  jsonObject,
  name,
  nodeId,
  nonce,
  timestamp,
} from "./common.ts";
import { eventType } from "./entry.ts";
import {
  killReceipt,
  scramEvent,
  scramEventId,
  scramInvariant,
  scramOrigin,
  scramScope,
  scramSelfProof,
  scramTrigger,
} from "./scram.ts";

/**
 * What `data` holds in the installation's log, besides the key events. A verifier of runs reads none of
 * it, so it is published for readers and checked by our tests; old logs may lack what came later.
 */

/** Where the ledger took an entry from a node's journal, the line's place there. */
const journal = z.strictObject({ sequence: count, previous_hash: digest }).exactOptional();

/** A line of a kill switch's journal, in the journal or in the ledger. */
function line<T extends z.ZodRawShape>(shape: T): z.ZodObject<T & { journal: typeof journal }> {
  return z.strictObject({ ...shape, journal });
}

const milliseconds = z.number().min(0);
const code = z.string().max(80);
const eventIds = z.array(scramEventId);
/** How often it happened since it was recorded last, where a flood of it is counted only. */
const leftOut = count.exactOptional();
const origin = scramOrigin.exactOptional();
const orderId = z.string().max(64);
/** What a request by network came from, as the door saw it. */
const from = json.exactOptional();

const selfProof = line({
  proof: scramSelfProof,
  envelopes: z.strictObject({ proof: digest }).exactOptional(),
});

const executed = line({
  event: scramEvent,
  envelopes: z.strictObject({
    receipt: digest.exactOptional(),
    order: digest.exactOptional(),
  }),
  origin,
  /** Without the sentinel's key there is a receipt that nobody signed. */
  unsigned_receipt: killReceipt.exactOptional(),
});

/** Of a line that was too long for an entry: its digest, and what other nodes act by. */
const executedInShort = line({
  line_digest: digest,
  event: z.strictObject({
    event_id: scramEventId.nullable(),
    invariants_passed: z.array(scramInvariant),
  }),
  envelopes: z.record(z.string(), digest),
});

/** The user of the machine who typed the command, by the system's word. */
const by = z.strictObject({ user: z.string().max(200), node_id: nodeId });

/** An archive of old entries of a tenant's log: a file outside the database. */
const archive = {
  tenant_id: name,
  /** The SHA-256 of the file. */
  archive: digest,
  entries: count,
  by,
};

/** Written, verified and durable before anything leaves the database. */
export const archivedEvent = z.strictObject({
  ...archive,
  bytes: count,
  before: timestamp,
  runs: count,
  envelopes: count,
  first_index: count,
  last_index: count,
  /** Over a line for each run: its name, how many entries it has, and the hash of the last. */
  streams: digest,
});
export type ArchivedData = z.infer<typeof archivedEvent>;
/** What had left the database comes back from the archive. */
export const restoredEvent = z.strictObject(archive);
export type RestoredData = z.infer<typeof restoredEvent>;

const finding = z.strictObject({
  log: name,
  kind: z.enum(["entry", "gap", "signed head", "tree node", "head file", "time", "switch"]),
  place: count,
  found: z.string(),
  done: z.enum(["set aside", "filled", "computed again", "left"]),
});

export const installationEventData = {
  "node.joined": z.strictObject({
    node_id: nodeId,
    installation_id: installationId,
    host: z.string().max(255),
  }),
  "ledger.repaired": z.strictObject({ changed: count, findings: z.array(finding).max(50) }),
  /** A token of the HTTP API was made. The token itself is nowhere. */
  "ledger.token_issued": apiToken.extend({ tenant_id: name, by }),
  "ledger.token_revoked": z.strictObject({ tenant_id: name, token_id: tokenId, by }),
  "ledger.archived": archivedEvent,
  "ledger.restored": restoredEvent,
  "ledger.set_back": z.strictObject({ node_id: nodeId, lines_lost: count, lines: count }),

  "scram.activated": line({
    event_id: scramEventId,
    trigger: scramTrigger,
    nonce: nonce.nullable(),
    /** Absent in journals from before a stop could be of less than everything. */
    scope: scramScope.exactOptional(),
    origin,
  }),
  "scram.executed": z.union([executed, executedInShort]),
  "reset.authorized": line({
    reset_id: z.string().max(64),
    event_ids: eventIds,
    statement: z.string().max(500),
    envelopes: z.strictObject({ reset: digest }),
  }),
  "scram.reset": line({
    reset_id: z.string().max(64),
    event_ids: eventIds,
    statement: z.string().max(500),
    nonce,
    envelopes: z.strictObject({ reset: digest }),
  }),
  "order.refused": line({
    code,
    reason: z.string().max(300),
    from,
    origin: json.exactOptional(),
    peer_digest: digest.exactOptional(),
    left_out: leftOut,
  }),
  /** One of two keys has signed; the order waits for the other. */
  "authorization.pending": line({
    order_id: orderId,
    missing: z.enum(["operator", "architect"]),
    from,
    presented: z.strictObject({ nonce, keys: z.array(json) }).exactOptional(),
    left_out: leftOut,
  }),
  "authorization.lapsed": line({ order_id: orderId }),

  "sentinel.started": line({
    pid: count,
    /** The one before did not say that it stopped. */
    unclean: z.boolean(),
    /** Processes that the one before left, all dead now. */
    left: count,
    /** Absent in journals from before it was proved that every stop is recorded. */
    settled: z.boolean().exactOptional(),
  }),
  "sentinel.stopped": line({ pid: count }),
  "engine.lost": line({ pid: count, paths: count, how: z.string().max(80).exactOptional() }),
  "deadman.lost": line({ why: z.string().max(300) }),
  "discovery.found": line({ unregistered: z.array(z.string()).max(20) }),
  "lease.ended": line({ paths: count, stragglers: count, t_reaped_ms: milliseconds.nullable() }),
  "latch.restored": line({ event_ids: eventIds, left_out: leftOut }),
  "self_proof.passed": selfProof,
  "self_proof.failed": selfProof,

  /** Stands in place of a line that is gone; the last one in a row names what the next line follows. */
  "journal.lost": line({ resumes: digest.exactOptional() }),
  "journal.repaired": line({
    event_id: scramEventId,
    kept: count,
    lost: count,
    unreadable: count,
    salvaged: count,
    from_ledger: count,
    aside: z.strictObject({ name: z.string(), sha256: digest.nullable() }).nullable(),
  }),
  /** The folder was made of a backup: everything is stopped until a reset names this stop. */
  "journal.restored": line({
    event_id: scramEventId,
    backup: digest,
    made_at: timestamp,
    /** How many lines came from the backup. */
    lines: count,
  }),
  /** A line that could be read and fitted nowhere; a nonce that it used stays used. */
  "journal.salvaged": line({
    line: z.strictObject({
      sequence: count,
      at: timestamp,
      event: eventType,
      data: jsonObject,
      previous_hash: digest,
    }),
    nonce: nonce.exactOptional(),
  }),
} as const;
