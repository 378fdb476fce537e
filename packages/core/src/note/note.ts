import { base64Decode, base64Encode, concatBytes, hexEncode, utf8Encode } from "../bytes/index.ts";
import { sha256 } from "../digest/index.ts";
import { checkSignature, type PublicKey, type Signer } from "../ed25519/index.ts";
import { isSovereignError, SovereignError } from "../errors/index.ts";

/** The signature type of plain Ed25519 in a signed note. */
const ED25519 = 0x01;
const NOTE_BYTES_MAX = 65_536;
const SIGNATURES_MAX = 64;

/** A key as signed notes know it: a name without spaces or plus, and an Ed25519 key. */
export interface NoteKey {
  readonly name: string;
  readonly key: PublicKey;
}

export interface OpenedNote {
  /** The signed text, with its last newline. */
  readonly text: string;
  /** Those of the given keys that signed. */
  readonly signers: readonly NoteKey[];
}

/**
 * Sign a text as a C2SP signed note.
 *
 * @param text ends with a newline
 * @see C2SP signed-note v1.0.0
 */
export function signNote(text: string, name: string, signer: Signer): string {
  if (!text.endsWith("\n")) throw new RangeError("a note's text ends with a newline");
  assertName(name);
  const keyId = noteKeyId(name, signer.publicKey);
  const signature = base64Encode(concatBytes(keyId, signer.sign(utf8Encode(text))));
  return `${text}\n— ${name} ${signature}\n`;
}

/**
 * Open a signed note: at least one of the given keys must have signed it, and no signature that
 * claims one of them may be wrong. Signatures of unknown keys are ignored.
 *
 * @param note untrusted
 * @throws ERR_NOTE_MALFORMED, ERR_NOTE_SIGNATURE
 */
export function openNote(note: string, keys: readonly NoteKey[]): OpenedNote {
  const { text, lines } = split(note);
  const message = utf8Encode(text);
  const signers = new Set<NoteKey>();
  const known = new Map<string, NoteKey>();
  for (const one of [...keys].reverse())
    known.set(claimOf(one.name, noteKeyId(one.name, one.key)), one);
  for (const line of lines) {
    const { name, keyId, signature } = parseLine(line);
    const key = known.get(claimOf(name, keyId));
    if (key === undefined) continue;
    if (!checkSignature(key.key, message, signature)) {
      throw new SovereignError("ERR_NOTE_SIGNATURE", `The signature of ${name} is wrong.`, {
        name,
      });
    }
    signers.add(key);
  }
  if (signers.size === 0) {
    throw new SovereignError("ERR_NOTE_SIGNATURE", "No trusted key signed the note.");
  }
  return { text, signers: [...signers] };
}

/** Which key a signature claims. */
function claimOf(name: string, keyId: Uint8Array): string {
  return `${hexEncode(keyId)} ${name}`;
}

/** SHA-256(name || 0x0A || type || key)[:4]. */
function noteKeyId(name: string, key: PublicKey): Uint8Array {
  const bytes = concatBytes(utf8Encode(name), Uint8Array.of(0x0a, ED25519), key.raw);
  return sha256(bytes).slice(0, 4);
}

function split(note: string): { text: string; lines: string[] } {
  const at = note.lastIndexOf("\n\n");
  const hasControl = /[\u0000-\u0009\u000b-\u001f\u007f]/.test(note);
  if (note.length > NOTE_BYTES_MAX || at < 0 || !note.endsWith("\n") || hasControl) {
    throw malformed("expected a text, an empty line and signature lines");
  }
  if (!note.isWellFormed()) throw malformed("a lone surrogate");
  const lines = note.slice(at + 2, -1).split("\n");
  if (lines.length > SIGNATURES_MAX) throw malformed("too many signatures");
  return { text: note.slice(0, at + 1), lines };
}

function parseLine(line: string): { name: string; keyId: Uint8Array; signature: Uint8Array } {
  const match = /^— ([^\s+]+) ([A-Za-z0-9+/=]+)$/u.exec(line);
  if (match?.[1] === undefined || match[2] === undefined) throw malformed("a bad signature line");
  let bytes: Uint8Array;
  try {
    bytes = base64Decode(match[2]);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    throw malformed("a signature that is not base64");
  }
  if (bytes.length < 5) throw malformed("a signature that is too short");
  return { name: match[1], keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) };
}

function assertName(name: string): void {
  if (!/^[^\s+]+$/u.test(name)) throw new RangeError("a key name has no spaces and no plus");
}

function malformed(found: string): SovereignError {
  return new SovereignError("ERR_NOTE_MALFORMED", `Not a signed note: ${found}.`);
}
