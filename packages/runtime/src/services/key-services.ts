import { type KeyRecord, type KeyTable, NAMED_PURPOSES, SovereignError } from "@sovereign/core";
import { INSTALLATION_KEYS, type KeySlot } from "../authority/index.ts";
import type { Services } from "./services.ts";
import type { Opened } from "./opened.ts";

export function keyServices(
  opened: Opened,
): Pick<
  Services,
  "initKeys" | "addKeys" | "listKeys" | "replaceKey" | "rotateKey" | "revokeKey" | "trustRoot"
> {
  return {
    initKeys: (slots) =>
      opened(({ keyLog, keystore }) =>
        keyLog.initialise(keystore, [...INSTALLATION_KEYS, ...slots]),
      ),
    addKeys: (slots, another) =>
      opened(async ({ keyLog, keystore }): Promise<KeyRecord[]> => {
        requireKeys(keyLog.head().count);
        return keyLog.introduceAll(keystore, slots, { another });
      }),
    listKeys: (): ReturnType<Services["listKeys"]> =>
      opened(({ keyLog }) => Promise.resolve(keyLog.current())),
    replaceKey: (slot, reason) =>
      opened(({ keyLog, keystore }) => {
        requireKeys(keyLog.head().count);
        return keyLog.replace(keystore, holderOf(slot, keyLog.current()), reason);
      }),
    rotateKey: (keyId, reason) =>
      opened(({ keyLog, keystore }) => keyLog.rotate(keystore, keyId, reason)),
    revokeKey: (keyId, reason, distrustAll) =>
      opened(({ keyLog, keystore }) => keyLog.revoke(keystore, keyId, reason, distrustAll)),
    trustRoot: () =>
      opened(({ keyLog }) => {
        requireKeys(keyLog.head().count);
        return Promise.resolve(keyLog.trustRoot());
      }),
  };
}

/** Where one person alone ever had such a key, it is theirs that is meant. */
function holderOf(slot: KeySlot, keys: KeyTable): KeySlot {
  const { purpose, role } = slot;
  if (role !== null || !NAMED_PURPOSES.includes(purpose)) return slot;
  const records = keys.windows.map(({ record }) => record).filter((one) => one.purpose === purpose);
  const [only, ...others] = new Set(records.map((one) => one.role));
  if (only !== undefined && others.length === 0) return { ...slot, role: only };
  const word = purpose === "approval" ? "approver" : purpose;
  const names = [only, ...others].filter((name) => name !== undefined).join(", ");
  const text = `Expected whose ${purpose} key to replace, such as ${word}:NAME. Enrolled: ${names || "nobody"}.`;
  throw new SovereignError("ERR_KEY_NAME", text);
}

function requireKeys(count: number): void {
  if (count > 0) return;
  const text = "This installation has no keys yet. Make them with: sovereign keys init";
  throw new SovereignError("ERR_KEYS_MISSING", text);
}
