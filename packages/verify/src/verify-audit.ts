import {
  base64Decode,
  type Checkpoint,
  type ErrorCode,
  emptyRoot,
  equalBytes,
  Frontier,
  HASH_BYTES,
  hexEncode,
  INSTALLATION_LOG,
  isSovereignError,
  openCheckpoint,
  parsePublicKey,
  SovereignError,
  type TrustRoot,
  type Verdict,
} from "@sovereign/core";
import {
  batchesOf,
  HASHES_OF_LINE,
  type JudgedLines,
  judgeLines,
  NUMBERS_OF_LINE,
} from "./audit-lines.ts";
import { expectEqual, failureOf, isShortage, wrong } from "./step-recorder.ts";

/** Who judges lines by themselves: this thread, or others beside it. */
export interface LineJudge {
  /** How many batches it is given before the first must be back. */
  readonly ahead: number;
  judge(batch: Uint8Array<ArrayBuffer>): JudgedLines | Promise<JudgedLines>;
}

export interface AuditOptions {
  /** A checkpoint of the log, with the trust root that says who may sign it. */
  readonly checkpoint: { readonly note: string; readonly trust: TrustRoot } | null;
  /** This thread by default. The report is the same, whoever judges. */
  readonly lines?: LineJudge;
  /** Told how many entries are verified, from time to time. */
  readonly progress?: (entries: number) => void;
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
 * tree. A few batches of lines are held at a time; memory grows with the number of streams alone.
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
  const { lines = THIS_THREAD, progress } = options;
  try {
    if (options.checkpoint !== null) audit.hold(options.checkpoint);
    audit.place = "line 1";
    for await (const judged of judgedInOrder(file, lines)) {
      audit.take(judged);
      progress?.(audit.entries);
    }
    audit.finish();
  } catch (error) {
    if (isShortage(error) || (isSovereignError(error) && NO_EVIDENCE.has(error.code))) throw error;
    return audit.report({ place: audit.place, ...failureOf(error) });
  }
  return audit.report(null);
}

/** Batches are judged ahead, and given in their order: what is wrong first is told first. */
async function* judgedInOrder(
  file: AsyncIterable<Uint8Array>,
  lines: LineJudge,
): AsyncGenerator<JudgedLines> {
  const waiting: Promise<JudgedLines>[] = [];
  try {
    for await (const batch of batchesOf(file)) {
      const judged = Promise.resolve(lines.judge(batch));
      // It is asked for later, or never where a line before it is wrong.
      judged.catch(() => undefined);
      waiting.push(judged);
      if (waiting.length > lines.ahead) yield* takenFrom(waiting, 1);
    }
  } catch (error) {
    // What stands before the end of what can be read is judged first.
    yield* takenFrom(waiting, waiting.length);
    throw error;
  }
  yield* takenFrom(waiting, waiting.length);
}

async function* takenFrom(
  waiting: Promise<JudgedLines>[],
  many: number,
): AsyncGenerator<JudgedLines> {
  for (const judged of waiting.splice(0, many)) yield await judged;
}

const THIS_THREAD: LineJudge = { ahead: 0, judge: judgeLines };

/** What is no checkpoint, and a file that cannot be read, say nothing of the log. */
const NO_EVIDENCE: ReadonlySet<ErrorCode> = new Set([
  "ERR_AUDIT_MALFORMED",
  "ERR_FILE_UNREADABLE",
  "ERR_VERIFY_RESOURCES",
  "ERR_NOTE_MALFORMED",
  "ERR_CHECKPOINT_MALFORMED",
]);

interface Head {
  readonly count: number;
  readonly hash: Uint8Array;
}

const NO_HEAD: Head = { count: 0, hash: new Uint8Array(HASH_BYTES) };

class Audit {
  /** Where what is wrong would be. */
  place = "checkpoint";
  readonly #heads = new Map<string, Head>();
  #checkpoint: Checkpoint | null = null;
  #refused = false;
  #frontier: Frontier | null = new Frontier();
  #rootAtCheckpoint: Uint8Array | null = null;
  #entries = 0;
  #lastIndex = -1;

  get entries(): number {
    return this.#entries;
  }

  /** Hold the log against a head of it. */
  hold({ note, trust }: NonNullable<AuditOptions["checkpoint"]>): void {
    this.#refused = true;
    this.#checkpoint = openTrusted(note, trust);
    this.#refused = false;
    if (this.#checkpoint.size === 0) this.#rootAtCheckpoint = emptyRoot();
  }

  /** The next lines of the file. @throws for the first that does not follow, or does not hold */
  take({ count, numbers, hashes, streamOf, streams, failure }: JudgedLines): void {
    for (let row = 0; row < count; row++) {
      const from = row * HASHES_OF_LINE;
      const hashAt = (which: number): Uint8Array =>
        hashes.subarray(from + which * HASH_BYTES, from + (which + 1) * HASH_BYTES);
      const index = numbers[row * NUMBERS_OF_LINE] as number;
      const sequence = numbers[row * NUMBERS_OF_LINE + 1] as number;
      this.#follow(index, sequence, streams[streamOf[row] as number] as string, hashAt);
      this.#entries += 1;
      this.#grow(index, hashAt(2));
      this.place = `line ${this.#entries + 1}`;
    }
    if (failure !== null) throw new SovereignError(failure.code as ErrorCode, failure.message);
  }

  #follow(
    index: number,
    sequence: number,
    stream: string,
    hashAt: (which: number) => Uint8Array,
  ): void {
    if (index <= this.#lastIndex) throw wrong(`Index ${index} does not follow ${this.#lastIndex}.`);
    this.#lastIndex = index;
    const head = this.#heads.get(stream) ?? NO_HEAD;
    expectEqual(sequence, head.count, `The sequence number in ${stream}`);
    const previous = hashAt(1);
    if (!equalBytes(previous, head.hash)) {
      expectEqual(hexEncode(previous), hexEncode(head.hash), `The previous hash in ${stream}`);
    }
    // A copy: the lines' own memory is let go.
    this.#heads.set(stream, { count: head.count + 1, hash: hashAt(0).slice() });
  }

  #grow(index: number, leaf: Uint8Array): void {
    if (this.#frontier === null) return;
    // A file that does not begin at 0, or leaves entries out, is a part: it has no root.
    if (index !== this.#frontier.size) {
      this.#frontier = null;
      return;
    }
    this.#frontier.append(leaf.slice());
    if (this.#frontier.size === this.#checkpoint?.size) {
      this.#rootAtCheckpoint = this.#frontier.root();
    }
  }

  finish(): void {
    this.place = "checkpoint";
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

const VERDICTS: ReadonlyMap<string, Verdict> = new Map([
  ["ERR_VERIFY_INCOMPLETE", "INCOMPLETE"],
  ["ERR_VERIFY_UNTRUSTED", "UNTRUSTED_KEY"],
]);

/**
 * The checkpoint's own first line names its log; the trust root's checkpoint keys must sign it.
 * @throws ERR_VERIFY_UNTRUSTED, ERR_VERIFY_INVALID, ERR_NOTE_…, ERR_CHECKPOINT_MALFORMED
 */
export function openTrusted(note: string, trust: TrustRoot): Checkpoint {
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
