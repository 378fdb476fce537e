import { hash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { Frontier, GENESIS_HASH, leafHash } from "@sovereign/core";

/** A log as `sovereign audit export` writes it, made fast: its text is written as it is hashed. */
export interface WrittenLog {
  readonly bytes: number;
  readonly root: Uint8Array;
}

const CHUNK_CHARACTERS = 1 << 20;
/** As many runs write at a time; each makes this many entries. */
const RUNS_AT_ONCE = 20;
const ENTRIES_OF_A_RUN = 100;

/** Runs that are interleaved as a busy tenant's are, one after another in twenty places. */
export function writeAuditLog(file: string, entries: number): WrittenLog {
  const out = openSync(file, "w");
  const heads = Array.from({ length: RUNS_AT_ONCE }, () => ({ sequence: 0, hash: GENESIS_HASH }));
  const frontier = new Frontier();
  let bytes = 0;
  let text = "";
  for (let index = 0; index < entries; index++) {
    const place = index % RUNS_AT_ONCE;
    const row = Math.floor(index / RUNS_AT_ONCE);
    const head = heads[place]!;
    if (head.sequence === ENTRIES_OF_A_RUN)
      Object.assign(head, { sequence: 0, hash: GENESIS_HASH });
    const run = runOf(Math.floor(row / ENTRIES_OF_A_RUN) * RUNS_AT_ONCE + place);
    const entry = entryOf(run, index, head);
    const digest = hash("sha256", entry, "hex");
    frontier.append(leafHash(Buffer.from(entry)));
    Object.assign(head, { sequence: head.sequence + 1, hash: digest });
    text += `{"entry":${entry},"hash":"${digest}","index":${index}}\n`;
    if (text.length < CHUNK_CHARACTERS && index < entries - 1) continue;
    bytes += writeSync(out, text);
    text = "";
  }
  closeSync(out);
  return { bytes, root: frontier.root() };
}

function runOf(number: number): string {
  return `run_${number.toString(36).padStart(20, "0")}`;
}

/** In canonical form: the names stand in their order, and nothing needs an escape. */
function entryOf(run: string, index: number, head: { sequence: number; hash: string }): string {
  const data = `{"action_digest":"${GENESIS_HASH}","attempt":1,"note":"${NOTE}","step_id":"step${index}"}`;
  return `{"data":${data},"event_type":"execution.completed","previous_hash":"${head.hash}","run_id":"${run}","sequence":${head.sequence},"severity":"INFO","stream":"${run}","tenant_id":"bench","timestamp":"2026-01-01T00:00:00.000Z"}`;
}

const NOTE = "x".repeat(200);
