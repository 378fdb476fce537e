import { pathToFileURL } from "node:url";
import type { CommitItem, CommitVerdict } from "../../packages/runtime/src/ledger/index.ts";
import { TreeMoves } from "../../packages/runtime/src/executor/repository/tree-moves.ts";
import { ArtifactStore } from "../../packages/runtime/src/runs/artifact-store.ts";
import { Batcher } from "../../packages/runtime/src/store/batcher.ts";

// Loaded into the command line before everything else: the process is killed at one instant of a run. What
// is changed for that are classes whose objects no program comes to; the others are fixed.

const ENTRY = "SOVEREIGN_TEST_KILL_AT";
const UNWRITTEN = "SOVEREIGN_TEST_KILL_UNWRITTEN";
const ARTIFACT = "SOVEREIGN_TEST_KILL_BEFORE";
const MOVE = "SOVEREIGN_TEST_KILL_IN_MOVE";
const PRELOAD = pathToFileURL(import.meta.filename).href;

/**
 * The environment of a command that is killed once an entry is durable.
 * @param entry the event, and which one of its kind from 1: `execution.failed`, `run.admitted#1`
 */
export function killAt(entry: string): Record<string, string> {
  return { [ENTRY]: entry, NODE_OPTIONS: `--import=${PRELOAD}` };
}

/** The same for one that is killed right before it writes that entry. */
export function killUnwritten(entry: string): Record<string, string> {
  return { [UNWRITTEN]: entry, NODE_OPTIONS: `--import=${PRELOAD}` };
}

/** The environment of a command that is killed before it writes an artifact of this name. */
export function killBefore(artifact: string): Record<string, string> {
  return { [ARTIFACT]: artifact, NODE_OPTIONS: `--import=${PRELOAD}` };
}

/** The environment of a command that is killed amid a move of the branch: before the branch, or right after it. */
export function killInMove(at: "placed" | "moved"): Record<string, string> {
  return { [MOVE]: at, NODE_OPTIONS: `--import=${PRELOAD}` };
}

const unwritten = process.env[UNWRITTEN];
const [event, number = "1"] = (unwritten ?? process.env[ENTRY] ?? "").split("#");
if (event !== undefined && event !== "") {
  let left = Number(number);
  const commit = Object.getOwnPropertyDescriptor(Batcher.prototype, "commit")?.value as (
    item: CommitItem,
  ) => Promise<CommitVerdict>;
  Batcher.prototype.commit = async function (item) {
    const named = `"event_type":"${event}"`;
    if (item.entries.some(({ bytes }) => Buffer.from(bytes).includes(named))) left -= 1;
    if (left === 0 && unwritten !== undefined) process.kill(process.pid, "SIGKILL");
    const verdict = await commit.call(this, item);
    if (left === 0) process.kill(process.pid, "SIGKILL");
    return verdict;
  };
}

const artifact = process.env[ARTIFACT];
if (artifact !== undefined) {
  const put = Object.getOwnPropertyDescriptor(ArtifactStore.prototype, "put")
    ?.value as ArtifactStore["put"];
  ArtifactStore.prototype.put = function (name, bytes, mediaType) {
    if (name === artifact) process.kill(process.pid, "SIGKILL");
    return put.call(this, name, bytes, mediaType);
  };
}

const move = process.env[MOVE];
if (move !== undefined) {
  const name = move === "placed" ? "placeAll" : "settle";
  const place = Object.getOwnPropertyDescriptor(TreeMoves.prototype, "placeAll")
    ?.value as TreeMoves["placeAll"];
  TreeMoves.prototype[name] = function (): never {
    if (name === "placeAll") place.call(this);
    process.kill(process.pid, "SIGKILL");
    throw new Error("it was to be killed");
  };
}
