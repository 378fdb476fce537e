import { base64Decode, base64Encode } from "../bytes/index.ts";
import type { Signer } from "../ed25519/index.ts";
import { isSovereignError, SovereignError } from "../errors/index.ts";
import { type NoteKey, openNote, signNote } from "./note.ts";

/** A log's head: whose log, how many leaves, and the Merkle root over them. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * Sign a checkpoint. The key's name is the origin.
 * @see C2SP tlog-checkpoint v1.0.0
 */
export function signCheckpoint(checkpoint: Checkpoint, signer: Signer): string {
  const { origin, size, root } = checkpoint;
  return signNote(`${origin}\n${size}\n${base64Encode(root)}\n`, origin, signer);
}

/**
 * Open a checkpoint that one of the keys must have signed under its origin's name.
 *
 * @param note untrusted
 * @param origin the log that it must be of
 * @throws ERR_NOTE_MALFORMED, ERR_NOTE_SIGNATURE, ERR_CHECKPOINT_MALFORMED
 */
export function openCheckpoint(
  note: string,
  origin: string,
  keys: readonly NoteKey["key"][],
): { checkpoint: Checkpoint; signers: readonly NoteKey[] } {
  const { text, signers } = openNote(
    note,
    keys.map((key) => ({ name: origin, key })),
  );
  const checkpoint = parseCheckpointText(text);
  if (checkpoint.origin !== origin) {
    throw malformed(`expected the origin ${origin}, found ${checkpoint.origin}`);
  }
  return { checkpoint, signers };
}

/** Read a checkpoint's text without its signatures: for looking only, never for deciding. */
export function parseCheckpointText(text: string): Checkpoint {
  const [origin, size, root, ...rest] = text.split("\n");
  // The text ends with a newline, so that one empty piece is left; we write no extension lines.
  if (origin === undefined || origin === "" || rest.length !== 1 || rest[0] !== "") {
    throw malformed("expected origin, size and root, a line each");
  }
  if (size === undefined || !/^(0|[1-9]\d{0,15})$/.test(size)) throw malformed("a bad size");
  const count = Number(size);
  if (!Number.isSafeInteger(count)) throw malformed("a size that is too large");
  return { origin, size: count, root: parseRoot(root ?? "") };
}

function parseRoot(text: string): Uint8Array {
  try {
    const root = base64Decode(text);
    if (root.length === 32) return root;
  } catch (error) {
    if (!isSovereignError(error)) throw error;
  }
  throw malformed("a root that is not 32 bytes of base64");
}

function malformed(found: string): SovereignError {
  return new SovereignError("ERR_CHECKPOINT_MALFORMED", `Not a checkpoint: ${found}.`);
}
