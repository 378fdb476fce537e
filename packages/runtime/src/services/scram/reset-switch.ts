import { join } from "node:path";
import { type Signer, SovereignError } from "@sovereign/core";
import { connectScram, type Environment, openSwitchFolder } from "../../home/index.ts";
import { anchorInstallation, ownStream } from "../../installation/index.ts";
import { Journal, KnownKeys, mendSwitchFolder, ScramLatch } from "../../scram/index.ts";
import type { Opened } from "../opened.ts";
import { issueScramReset } from "./issue-order.ts";
import { repairScram } from "./repair-journal.ts";
import { readStatus, reportOf } from "./read-status.ts";
import type { ScramReport } from "./scram-reports.ts";

/** What a reset says. */
export interface ResetInput {
  readonly operatorKey: string;
  readonly architectKey: string;
  readonly statement: string;
}

/**
 * Lift what was stopped when two people asked for it. A stop that is given meanwhile is none that
 * they looked into, and stays. Authorised and recorded in the ledger first; only then is the latch
 * lifted.
 */
export async function resetScram(
  home: string,
  environment: Environment,
  sign: (reference: string, purpose: "operator" | "architect") => Promise<Signer>,
  opened: Opened,
  input: ResetInput,
): Promise<ScramReport> {
  const { scram } = openSwitchFolder(home);
  const seen = await stopsSeen(home, scram);
  const signers = [
    await sign(input.operatorKey, "operator"),
    await sign(input.architectKey, "architect"),
  ];
  // Two people ask for it, with a reason: what must be whole for it is made whole first.
  mendSwitchFolder(scram);
  const damaged = isDamaged(home);
  if (damaged) await repairScram(home, environment);
  // Whoever opens the installation publishes whose signatures the sentinel takes.
  if (new KnownKeys(scram).current() === null) await opened(() => Promise.resolve());
  const link = await connectScram(home, environment);
  try {
    const { event_ids } = (await link.request({ t: "resettable" })) as { event_ids: string[] };
    const lifted = damaged || seen === null ? event_ids : event_ids.filter((id) => seen.has(id));
    if (lifted.length === 0) throw nothingToLift(event_ids);
    const envelope = issueScramReset(home, lifted, input.statement, signers);
    await link.request({ t: "reset", envelope, commit: false });
    await opened((installation) => anchorInstallation(installation));
    const after = await link.request({ t: "reset", envelope, commit: true });
    await opened((installation) => anchorInstallation(installation));
    return reportOf(after);
  } finally {
    link.close();
  }
}

/**
 * The stops that were in force when the reset was asked for. Null where what is in force is not known
 * before a sentinel runs: a call waits, the latch cannot be read, or it is in doubt. Everything is
 * stopped then, and the reset is of that.
 */
async function stopsSeen(home: string, scram: string): Promise<ReadonlySet<string> | null> {
  const { stops, readable, trouble } = await readStatus(home, scram);
  if (!readable || trouble !== null) return null;
  return new Set(stops.map(({ event_id }) => event_id));
}

function nothingToLift(eventIds: readonly string[]): SovereignError {
  const [first] = eventIds;
  if (first === undefined) {
    return new SovereignError("ERR_SCRAM_NOT_TRIPPED", "The kill switch is not tripped.");
  }
  const text = `Nothing is lifted: ${first} was given after this reset was begun. Look into it (sovereign scram status), and reset again.`;
  return new SovereignError("ERR_SCRAM_TRIPPED", text, { event_id: first });
}

/**
 * Also where it holds together, and is not the one that the proof of settled stops names; and where
 * there is none, although this node's ledger may hold lines of one.
 */
function isDamaged(home: string): boolean {
  const { scram } = openSwitchFolder(home);
  try {
    const journal = Journal.open(join(scram, "journal.jsonl"));
    if (journal.lines.length === 0 && ownStream(home) !== null) return true;
    const { settled } = new ScramLatch(scram);
    return settled !== null && !journal.holds(settled.lines, settled.head);
  } catch {
    return true;
  }
}
