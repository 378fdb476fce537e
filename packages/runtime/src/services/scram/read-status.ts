import { isSovereignError, type JsonObject, type JsonValue } from "@sovereign/core";
import { loadSwitchConfig } from "../../home/index.ts";
import { leaseHealth, leaseOfSentinel } from "../../installation/index.ts";
import { countLiving, offlineStatus, ScramLink } from "../../scram/index.ts";
import type { ScramReport, SelfProofHealth } from "./scram-reports.ts";

/** The kill switch's state: the sentinel's word, else what the files and the process table say. */
export async function readStatus(home: string, folder: string): Promise<ScramReport> {
  const link = await ScramLink.find(folder);
  // What nobody answers for is looked at.
  const unanswered = (): ScramReport => ({
    ...offlineStatus(folder, signalOf(home)),
    sentinel: null,
    living: countLiving(folder),
    lease: leaseHealth(home, null),
  });
  if (link === null) return unanswered();
  try {
    return reportOf(await link.request({ t: "status" }));
  } catch (error) {
    if (isSovereignError(error, "ERR_SCRAM_SENTINEL_LOST")) return unanswered();
    throw error;
  } finally {
    link.close();
  }
}

/** The signal file's name; a configuration that cannot be read is told elsewhere. */
function signalOf(home: string): string {
  return loadSwitchConfig(home, () => undefined).sentinel_path;
}

/** A sentinel's own report of itself. */
export function reportOf(status: JsonValue): ScramReport {
  const { state, stops, readable, self_proof, ...sentinel } = status as unknown as ScramReport & {
    self_proof: SelfProofHealth;
  } & JsonObject;
  const lease = leaseOfSentinel(sentinel);
  return { state, stops, readable, trouble: null, sentinel, lease, selfProof: self_proof };
}
