import {
  base64Decode,
  type Checkpoint,
  type ErrorCode,
  emptyRoot,
  ENTRY_BYTES_MAX,
  Frontier,
  formats,
  GENESIS_HASH,
  hexEncode,
  INSTALLATION_LOG,
  isSovereignError,
  leafHash,
  openCheckpoint,
  type PlacedEntry,
  parseCanonicalJson,
  parseFormat,
  parsePublicKey,
  SovereignError,
  sha256Hex,
  type TrustRoot,
  type Verdict,
} from "@sovereign/core";
import { splitLines } from "./lines.ts";
import { expectEqual, isShortage } from "./step-recorder.ts";

const LINE_BYTES_MAX = 128 * 1024;

export interface AuditOptions {
  /** A checkpoint of the log, with the trust root that says who may sign it. */
  readonly checkpoint: { readonly note: string; readonly trust: TrustRoot } | null;
}

export type AuditVerdict = Verdict | "CONSISTENT";

export interface AuditReport {
  /** CONSISTENT where no checkpoint says who vouches for the log: VALID needs one. */
  readonly verdict: AuditVerdict;
  readonly entries: number;
  readonly streams: number;
  /** The Merkle root where the file holds a whole log from its start. */
  readonly root: string | null;
  /** The size of the checkpoint that was held against, if one was given. */
  readonly checkpoint_size: number | null;
  readonly first_failure: { place: string; code: string; message: string } | null;
  /** What was not checked, for want of something. */
  readonly not_checked: readonly string[];
}

/**
 * Verify an exported `immutable_audit.jsonl`: hashes, chains, order and, with a checkpoint, the
 * tree. One line is held at a time; memory grows with the number of streams alone.
 *
 * @param file untrusted: its bytes, in chunks of any sizes
 * @returns the report; evidence that is wrong is a verdict, never an exception
 * @throws ERR_NOTE_MALFORMED, ERR_CHECKPOINT_MALFORMED when the checkpoint is none at all;
 *   ERR_AUDIT_MALFORMED when the file is empty and no checkpoint says that the log is, too;
 *   ERR_FILE_UNREADABLE as the chunks throw it
 */
export async function verifyAudit(
  file: AsyncIterable<Uint8Array>,
  options: AuditOptions,
): Promise<AuditReport> {
  const audit = new Audit();
  let place = "checkpoint";
  let number = 0;
  try {
    if (options.checkpoint !== null) audit.hold(options.checkpoint);
    place = "line 1";
    for await (const line of splitLines(file, LINE_BYTES_MAX)) {
      audit.add(line);
      number += 1;
      place = `line ${number + 1}`;
    }
    place = "checkpoint";
    audit.finish();
  } catch (error) {
    if (isShortage(error) || (isSovereignError(error) && NO_EVIDENCE.has(error.code))) throw error;
    return audit.report({ place, ...failureOf(error) });
  }
  return audit.report(null);
}

function failureOf(error: unknown): { code: string; message: string } {
  if (isSovereignError(error)) return { code: error.code, message: error.message };
  const why = error instanceof Error ? error.message : "what was thrown is no error";
  return { code: "ERR_VERIFY_INVALID", message: `It cannot be judged: ${why}` };
}

/** What is no checkpoint, and a file that cannot be read, say nothing of the log. */
const NO_EVIDENCE: ReadonlySet<ErrorCode> = new Set([
  "ERR_AUDIT_MALFORMED",
  "ERR_FILE_UNREADABLE",
  "ERR_NOTE_MALFORMED",
  "ERR_CHECKPOINT_MALFORMED",
]);

class Audit {
  readonly #heads = new Map<string, { count: number; hash: string }>();
  #checkpoint: Checkpoint | null = null;
  #refused = false;
  #frontier: Frontier | null = new Frontier();
  #rootAtCheckpoint: Uint8Array | null = null;
  #entries = 0;
  #lastIndex = -1;

  /** Hold the log against a head of it. */
  hold({ note, trust }: NonNullable<AuditOptions["checkpoint"]>): void {
    this.#refused = true;
    this.#checkpoint = openTrusted(note, trust);
    this.#refused = false;
    if (this.#checkpoint.size === 0) this.#rootAtCheckpoint = emptyRoot();
  }

  add(line: Uint8Array): void {
    const value = parseCanonicalJson(line);
    const placed = parseFormat(formats.placedEntry, value, "entry", "ERR_VERIFY_INVALID");
    const bytes = entryBytesOf(line, placed);
    this.#follow(placed, bytes);
    this.#entries += 1;
    if (this.#frontier === null) return;
    // A file that does not begin at 0, or leaves entries out, is a part: it has no root.
    if (placed.index !== this.#frontier.size) this.#frontier = null;
    else {
      this.#frontier.append(leafHash(bytes));
      if (this.#frontier.size === this.#checkpoint?.size) {
        this.#rootAtCheckpoint = this.#frontier.root();
      }
    }
  }

  #follow({ index, hash, entry }: PlacedEntry, bytes: Uint8Array): void {
    if (bytes.length > ENTRY_BYTES_MAX) {
      const text = `The entry has ${bytes.length} bytes; at most ${ENTRY_BYTES_MAX} are recorded.`;
      throw new SovereignError("ERR_VERIFY_INVALID", text);
    }
    expectEqual(sha256Hex(bytes), hash, "The hash");
    if (index <= this.#lastIndex) {
      throw new SovereignError(
        "ERR_VERIFY_INVALID",
        `Index ${index} does not follow ${this.#lastIndex}.`,
      );
    }
    this.#lastIndex = index;
    const head = this.#heads.get(entry.stream) ?? { count: 0, hash: GENESIS_HASH };
    expectEqual(entry.sequence, head.count, `The sequence number in ${entry.stream}`);
    expectEqual(entry.previous_hash, head.hash, `The previous hash in ${entry.stream}`);
    this.#heads.set(entry.stream, { count: head.count + 1, hash });
  }

  finish(): void {
    if (this.#checkpoint === null) {
      this.#finishAlone();
      return;
    }
    if (this.#rootAtCheckpoint === null) {
      throw new SovereignError(
        "ERR_VERIFY_INCOMPLETE",
        `The checkpoint is over ${this.#checkpoint.size} entries; the file does not hold them all.`,
      );
    }
    const found = hexEncode(this.#rootAtCheckpoint);
    expectEqual(found, hexEncode(this.#checkpoint.root), "The root at the checkpoint");
  }

  /** Without a head, a file says no more than what stands in it. */
  #finishAlone(): void {
    if (this.#entries === 0) {
      const text =
        "The file is empty; expected one entry a line, as `sovereign audit export` writes.";
      throw new SovereignError("ERR_AUDIT_MALFORMED", text);
    }
    if (this.#frontier !== null) return;
    const text = "The file is a part of a log: entries are missing before or between its own.";
    throw new SovereignError("ERR_VERIFY_INCOMPLETE", text);
  }

  /** Entries that no head covers: whoever keeps the file could have cut or added some. */
  #unheld(): string[] {
    if (this.#refused) return ["the file: the checkpoint was refused first"];
    if (this.#checkpoint === null) return ["the end of the log: no --checkpoint was given"];
    const { size } = this.#checkpoint;
    const after = this.#lastIndex + 1 - size;
    return after > 0 ? [`the last ${after} entries: the checkpoint is over ${size}`] : [];
  }

  #best(): AuditVerdict {
    return this.#checkpoint === null ? "CONSISTENT" : "VALID";
  }

  report(failure: AuditReport["first_failure"]): AuditReport {
    const notChecked = [
      ...this.#unheld(),
      ...(this.#frontier === null ? ["the Merkle root: the file is a part of a log"] : []),
      "signatures inside the entries: they are verified from a bundle",
    ];
    return {
      verdict: failure === null ? this.#best() : (VERDICTS.get(failure.code) ?? "INVALID"),
      entries: this.#entries,
      streams: this.#heads.size,
      root: this.#frontier === null || this.#refused ? null : hexEncode(this.#frontier.root()),
      checkpoint_size: this.#checkpoint?.size ?? null,
      first_failure: failure,
      not_checked: notChecked,
    };
  }
}

/**
 * The hashed bytes of an entry. The line is canonical, and its names in their order are entry,
 * hash, index: so they stand in it as they are, and need not be written again.
 */
function entryBytesOf(line: Uint8Array, { hash, index }: PlacedEntry): Uint8Array {
  const behind = `,"hash":"${hash}","index":${index}}`;
  return line.subarray('{"entry":'.length, line.length - behind.length);
}

const VERDICTS: ReadonlyMap<string, Verdict> = new Map([
  ["ERR_VERIFY_INCOMPLETE", "INCOMPLETE"],
  ["ERR_VERIFY_UNTRUSTED", "UNTRUSTED_KEY"],
]);

/** The checkpoint's own first line names its log; the trust root's checkpoint keys must sign it. */
function openTrusted(note: string, trust: TrustRoot): Checkpoint {
  const origin = note.split("\n")[0] ?? "";
  const base = `sovereign/${trust.installation_id}/`;
  const ours =
    origin.startsWith(base) && /^(installation|tenant\/.+)$/.test(origin.slice(base.length));
  const keys = trust.keys
    .filter((key) => ours && key.purpose === "checkpoint" && !key.distrust_all)
    .map((key) => parsePublicKey(base64Decode(key.public_key)));
  try {
    return openCheckpoint(note, origin, keys).checkpoint;
  } catch (cause) {
    // A signature that claims a key of ours is named, and is wrong; otherwise no key of ours signed.
    if (!isSovereignError(cause, "ERR_NOTE_SIGNATURE") || cause.details["name"] !== undefined) {
      throw cause;
    }
    if (ours) {
      const text = "No checkpoint key that the trust root knows signed the checkpoint.";
      throw new SovereignError("ERR_VERIFY_UNTRUSTED", text, {}, cause);
    }
    const text = `The checkpoint is of ${origin}; expected a log of ${trust.installation_id} (such as ${base}${INSTALLATION_LOG}).`;
    throw new SovereignError("ERR_VERIFY_INVALID", text, {}, cause);
  }
}
