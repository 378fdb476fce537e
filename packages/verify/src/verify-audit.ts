import {
  canonicalBytes,
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
  base64Decode,
  SovereignError,
  sha256Hex,
  type TrustRoot,
  utf8Encode,
} from "@sovereign/core";
import { expectEqual } from "./step-recorder.ts";

const LINE_BYTES_MAX = 128 * 1024;

export interface AuditOptions {
  /** A checkpoint of the log, with the trust root that says who may sign it. */
  readonly checkpoint: { readonly note: string; readonly trust: TrustRoot } | null;
}

export interface AuditReport {
  readonly verdict: "VALID" | "INVALID" | "INCOMPLETE";
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
 * @param lines untrusted, without their newlines
 */
export async function verifyAudit(
  lines: AsyncIterable<string>,
  options: AuditOptions,
): Promise<AuditReport> {
  const audit = new Audit(options);
  let number = 0;
  try {
    for await (const line of lines) {
      number += 1;
      audit.add(line);
    }
    number = 0;
    audit.finish();
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    const place = number === 0 ? "checkpoint" : `line ${number}`;
    return audit.report({ place, code: error.code, message: error.message });
  }
  return audit.report(null);
}

class Audit {
  readonly #heads = new Map<string, { count: number; hash: string }>();
  readonly #checkpoint: { size: number; root: Uint8Array } | null;
  #frontier: Frontier | null = new Frontier();
  #rootAtCheckpoint: Uint8Array | null = null;
  #entries = 0;
  #lastIndex = -1;

  constructor({ checkpoint }: AuditOptions) {
    this.#checkpoint = checkpoint === null ? null : openTrusted(checkpoint.note, checkpoint.trust);
  }

  add(line: string): void {
    const value = parseCanonicalJson(utf8Encode(line), { bytesMax: LINE_BYTES_MAX });
    const placed = parseFormat(formats.placedEntry, value, "entry", "ERR_VERIFY_INVALID");
    this.#follow(placed);
    this.#entries += 1;
    if (this.#frontier === null) return;
    // A file that does not begin at 0, or leaves entries out, is a part: it has no root.
    if (placed.index !== this.#frontier.size) this.#frontier = null;
    else {
      this.#frontier.append(leafHash(canonicalBytes(placed.entry)));
      if (this.#frontier.size === this.#checkpoint?.size) {
        this.#rootAtCheckpoint = this.#frontier.root();
      }
    }
  }

  #follow({ index, hash, entry }: PlacedEntry): void {
    expectEqual(sha256Hex(canonicalBytes(entry)), hash, "The hash");
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
    if (this.#checkpoint === null) return;
    if (this.#rootAtCheckpoint === null) {
      throw new SovereignError(
        "ERR_VERIFY_INCOMPLETE",
        `The checkpoint is over ${this.#checkpoint.size} entries; the file does not hold them all.`,
      );
    }
    const found = hexEncode(this.#rootAtCheckpoint);
    expectEqual(found, hexEncode(this.#checkpoint.root), "The root at the checkpoint");
  }

  report(failure: AuditReport["first_failure"]): AuditReport {
    const incomplete = failure?.code === "ERR_VERIFY_INCOMPLETE";
    const notChecked = [
      ...(this.#checkpoint === null ? ["the end of the log: no --checkpoint was given"] : []),
      ...(this.#frontier === null ? ["the Merkle root: the file is a part of a log"] : []),
      "signatures inside the entries: they are verified from a bundle",
    ];
    const bad = incomplete ? "INCOMPLETE" : "INVALID";
    return {
      verdict: failure === null ? "VALID" : bad,
      entries: this.#entries,
      streams: this.#heads.size,
      root: this.#frontier === null ? null : hexEncode(this.#frontier.root()),
      checkpoint_size: this.#checkpoint?.size ?? null,
      first_failure: failure,
      not_checked: notChecked,
    };
  }
}

/** The checkpoint's own first line names its log; the trust root's checkpoint keys must sign it. */
function openTrusted(note: string, trust: TrustRoot): { size: number; root: Uint8Array } {
  const origin = note.split("\n")[0] ?? "";
  const base = `sovereign/${trust.installation_id}/`;
  if (!origin.startsWith(base) || !/^(installation|tenant\/.+)$/.test(origin.slice(base.length))) {
    const text = `The checkpoint is of ${origin}; expected a log of ${trust.installation_id} (such as ${base}${INSTALLATION_LOG}).`;
    throw new SovereignError("ERR_VERIFY_INVALID", text);
  }
  const keys = trust.keys
    .filter((key) => key.purpose === "checkpoint" && !key.distrust_all)
    .map((key) => parsePublicKey(base64Decode(key.public_key)));
  return openCheckpoint(note, origin, keys).checkpoint;
}
