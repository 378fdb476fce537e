import { realpathSync } from "node:fs";
import { basename, dirname } from "node:path";
import { type KeyPurpose, type KeyRecord, type Signer, SovereignError } from "@sovereign/core";
import { Keystore, type Passphrase } from "../../authority/index.ts";
import { systemClock, timestampOf } from "../../system/index.ts";
import { openSwitchFolder } from "../../home/index.ts";
import { KnownKeys } from "../../scram/index.ts";

/**
 * The signer that a person names: a key file, the beginning of a key's id, or its holder's name.
 * @throws ERR_KEY_NOT_FOUND, and what is wrong with the very file that was named
 */
export async function findSigner(
  home: string,
  passphrase: Passphrase | null,
  reference: string,
  purpose: KeyPurpose,
): Promise<Signer> {
  if (reference.includes("/") || reference.endsWith(".key.json")) {
    return fileSigner(reference, passphrase, purpose);
  }
  const { keys: folder } = openSwitchFolder(home);
  const keystore = await Keystore.open({ folder, passphrase, lenient: true });
  const fits = (record: KeyRecord): boolean =>
    record.role === reference || (reference.length >= 8 && record.key_id.startsWith(reference));
  const fitting = (await keystore.records()).filter(
    (record) => record.purpose === purpose && fits(record),
  );
  const inForce = validIds(home);
  const found = fitting.findLast(({ key_id }) => inForce.has(key_id)) ?? fitting.at(-1);
  if (found !== undefined) return keystore.signer(found.key_id);
  const aside = (await keystore.strays()).map(({ why }) => why);
  const text = `No ${purpose}'s key is known as ${reference}. List them with: sovereign scram keys. Make one with: sovereign keys add --${purpose} NAME`;
  throw new SovereignError("ERR_KEY_NOT_FOUND", [text, ...aside.slice(0, 5)].join(" "));
}

/** A holder may have several keys: which of them counts now. The sentinel is the judge of that. */
function validIds(home: string): ReadonlySet<string> {
  const known = new KnownKeys(openSwitchFolder(home).scram).current();
  if (known === null) return new Set();
  const { keys } = known;
  const now = timestampOf(systemClock);
  const valid = keys.windows.filter((window) => keys.refusal(window, keys.count, now) === null);
  return new Set(valid.map(({ record }) => record.key_id));
}

/** A file that a person names is looked at by itself, wherever it leads. */
async function fileSigner(
  reference: string,
  passphrase: Passphrase | null,
  purpose: KeyPurpose,
): Promise<Signer> {
  let path: string;
  try {
    path = realpathSync(reference);
  } catch (cause) {
    const text = `There is no key file ${reference}.`;
    throw new SovereignError("ERR_KEY_NOT_FOUND", text, {}, cause);
  }
  const folder = dirname(path);
  const keystore = await Keystore.open({ folder, passphrase, make: false, lenient: true });
  const { record, signer } = await keystore.fileSigner(basename(path));
  if (record.purpose === purpose) return signer();
  const text = `${reference} is the key of purpose ${record.purpose}, expected ${purpose}'s.`;
  throw new SovereignError("ERR_KEY_NOT_FOUND", text);
}
