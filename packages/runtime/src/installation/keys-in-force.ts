import { isSovereignError, type KeyPurpose, SovereignError } from "@sovereign/core";
import { type Authority, notInForce } from "../authority/index.ts";
import type { RunSession } from "../runs/index.ts";
import type { Installation } from "./installation.ts";

/** What every run signs with, from its first entry to its bundle. */
const RUN_KEYS: readonly KeyPurpose[] = ["config", "binding", "attestation", "seal", "checkpoint"];
/** What the end of a run is signed with. */
const END_KEYS: readonly KeyPurpose[] = ["seal", "checkpoint"];

type Keys = Pick<Installation, "keyLog" | "clock">;

/**
 * A run that could not be ended is not begun, nor gone on with: each key that it needs is in force
 * and here.
 *
 * @throws ERR_KEY_NOT_IN_FORCE with the command that puts another in its place
 */
export async function requireRunKeys(installation: Keys, authority: Authority): Promise<void> {
  requireSentinelKey(installation);
  for (const purpose of RUN_KEYS) await authority.signer(purpose, null);
}

/** The same for a run that is about to be sealed. @throws ERR_KEY_NOT_IN_FORCE */
export async function requireEndKeys(installation: Keys, authority: Authority): Promise<void> {
  await installation.keyLog.refresh();
  requireSentinelKey(installation);
  for (const purpose of END_KEYS) await authority.signer(purpose, null);
}

/**
 * Without a key in force the sentinel could prove no stop to anybody: so no run begins or completes.
 * Its file need not be here. A stop needs neither.
 */
function requireSentinelKey({ keyLog, clock }: Keys): void {
  const keys = keyLog.current();
  const at = clock.now().toISOString();
  if (keys.valid("sentinel", null, keys.count, at).length > 0) return;
  throw notInForce({ purpose: "sentinel", role: null }, keys, { lost: undefined, at });
}

/**
 * The roles as which this data folder can carry out whole runs: their keys are in force and here, and so
 * are those that every run signs with.
 */
export async function rolesHere({
  keyLog,
  keystore,
  clock,
}: Pick<Installation, "keyLog" | "keystore" | "clock">): Promise<string[]> {
  const keys = await keyLog.refresh();
  const at = clock.now().toISOString();
  const here = new Set((await keystore.records()).map(({ key_id }) => key_id));
  const usable = keys.windows
    .filter((window) => keys.refusal(window, keys.count, at) === null)
    .flatMap(({ record }) => (here.has(record.key_id) ? [record] : []));
  if (!RUN_KEYS.every((wanted) => usable.some(({ purpose }) => purpose === wanted))) return [];
  const roles = usable.flatMap(({ purpose, role }) => (purpose === "role" ? (role ?? []) : []));
  return [...new Set(roles)];
}

/**
 * A run that lacks a key of the installation waits for one: it neither fails for that nor stays
 * `running` while nobody runs it.
 *
 * @param work what goes on with the run, or ends it
 */
export async function waitingForKeys<T>(
  session: RunSession,
  resume: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isSovereignError(error, "ERR_KEY_NOT_IN_FORCE")) throw error;
    const { message, details } = error;
    await session.suspend(message);
    const text = `${message}. The run ${session.plan.runId} waits for it. Then go on with: ${resume}`;
    throw new SovereignError("ERR_KEY_NOT_IN_FORCE", text, details, error);
  }
}
