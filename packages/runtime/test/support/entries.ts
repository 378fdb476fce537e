import { INSTALLATION_LOG } from "@sovereign/core";
import {
  type CommitItem,
  createEntry,
  EMPTY_STREAM,
  type EntryFields,
} from "../../src/ledger/index.ts";

const LETTERS = "abcdefghij";
let streams = 0;

/** A stream's name that no other test of this process uses. */
export function newStream(): string {
  const digits = String(streams++).padStart(20, "0");
  return `run_${digits.replaceAll(/\d/g, (digit) => LETTERS.charAt(Number(digit)))}`;
}

export function fieldsOf(stream: string, note: string): EntryFields {
  return {
    stream,
    tenantId: "acme",
    runId: stream,
    timestamp: "2026-01-01T00:00:00.000Z",
    eventType: "test.noted",
    severity: "INFO",
    data: { note },
  };
}

/** A commit of a new stream's first entries. */
export function itemFor(
  stream: string,
  log = "acme",
  notes: readonly string[] = ["first"],
): CommitItem {
  let head = EMPTY_STREAM;
  const entries = notes.map((note) => {
    const chained = createEntry(head, fieldsOf(stream, note));
    head = chained.head;
    return { bytes: chained.bytes, hash: chained.hash };
  });
  return { log, stream, expectedHead: EMPTY_STREAM, entries };
}

/** A commit that makes the key log grow: one of those that the installation's log takes. */
export function keyItem(): CommitItem {
  const { bytes, hash } = createEntry(EMPTY_STREAM, {
    ...fieldsOf("keys", "a key"),
    tenantId: INSTALLATION_LOG,
    runId: null,
    eventType: "key.introduced",
  });
  const entries = [{ bytes, hash }];
  return { log: INSTALLATION_LOG, stream: "keys", expectedHead: EMPTY_STREAM, entries };
}
