export type {
  BreakerPlace,
  Carriers,
  CommitItem,
  CommitPort,
  CommitRefusal,
  CommitVerdict,
  QueuePlace,
  RunStatus,
  RunWrite,
  StepStatus,
  StepWrite,
  StreamHead,
} from "./commit.ts";
export { type ChainedEntry, createEntry, EMPTY_STREAM, type EntryFields } from "./entry.ts";
export { entryToShow, readRun } from "./read-entries.ts";
export type {
  ArchivedBytes,
  LedgerReader,
  LogReader,
  StoredCheckpoint,
  StoredEntry,
} from "./reader.ts";
export { type CommitExtras, StreamWriter } from "./stream-writer.ts";
