import { isSovereignError, type KeyRecord, type KeyTable, SovereignError } from "@sovereign/core";
import type { KeySlot } from "../../authority/index.ts";
import type { Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { authorityOf } from "./open-session.ts";
import type { RunInput } from "./run-result.ts";

/** The roles that commands of ours use where no document names another. */
const OWN_ROLES: ReadonlySet<string> = new Set(["executor", "runner"]);

/** Those who judge the results of `agent compare` are ours, too. */
function isOwnRole(role: string): boolean {
  return OWN_ROLES.has(role) || /^validator_[1-9]\d?$/.test(role);
}

/** Whom a command needs keys of. */
export interface Needed {
  /** The role that signs. One that only a document names is left to its user. */
  readonly role: string;
  /** Whom the run may ask for consent. */
  readonly asks: readonly string[];
}

/**
 * The first use of a role that the user's own command needs enrols it, as the first run of an
 * installation does: the command's own role, and approvers whom the command line names and the run
 * asks. A role that ever had a key is left alone: a second holder, or one in the place of a key that
 * was revoked, is enrolled by hand. So are operators and architects, who have another purpose.
 */
export async function enrolFirstUse(
  installation: Pick<Installation, "keystore" | "keyLog" | "clock">,
  settings: Pick<Settings, "config">,
  { role, asks }: Needed,
  { approvers, onProgress }: Pick<RunInput, "approvers" | "onProgress">,
): Promise<void> {
  const { keyLog, keystore } = installation;
  const wanted: KeySlot[] = [
    ...(isOwnRole(role) ? [{ purpose: "role", role } as const] : []),
    ...[...new Set(approvers)]
      .filter((one) => asks.includes(one))
      .map((one) => ({ purpose: "approval", role: one }) as const),
  ];
  if (neverEnrolled(keyLog.current(), wanted).length === 0) return;
  // Another process may have enrolled them since this one, which may be a server, read the log.
  const slots = neverEnrolled(await keyLog.refresh(), wanted);
  if (slots.length === 0) return;
  if (settings.config.keys.enrol === "manual") throw byHand(slots);
  // Who cannot sign for it, because the keys are locked, hears so before a key is made.
  await authorityOf(installation, null).signer("root", null);
  const made = await introduce(keyLog, keystore, slots);
  if (made.length === 0) return;
  onProgress({
    event: "keys.enrolled",
    keys: made.map(({ purpose, role: name, key_id }) => ({ purpose, role: name ?? "", key_id })),
  });
}

/** Others that use a role for the first time at this moment are as good: who comes second makes the rest. */
async function introduce(
  keyLog: Installation["keyLog"],
  keystore: Installation["keystore"],
  slots: readonly KeySlot[],
): Promise<KeyRecord[]> {
  try {
    return await keyLog.introduceAll(keystore, slots);
  } catch (error) {
    if (!isSovereignError(error, "ERR_KEY_IN_FORCE")) throw error;
    const left = neverEnrolled(await keyLog.refresh(), slots);
    if (left.length === slots.length) throw error;
    return left.length === 0 ? [] : introduce(keyLog, keystore, left);
  }
}

function neverEnrolled(
  { windows }: Pick<KeyTable, "windows">,
  slots: readonly KeySlot[],
): KeySlot[] {
  return slots.filter(
    ({ purpose, role }) =>
      !windows.some(({ record }) => record.purpose === purpose && record.role === role),
  );
}

function byHand(slots: readonly KeySlot[]): SovereignError {
  const words = slots.map(({ purpose, role }) =>
    purpose === "approval" ? `--approver ${role ?? ""}` : `--role ${role ?? ""}`,
  );
  const text = `No key was ever enrolled for what this command needs, and config.yaml says keys.enrol: manual. Nothing was run. Enrol with: sovereign keys add ${words.join(" ")}`;
  return new SovereignError("ERR_KEY_NOT_FOUND", text);
}
