import { canonicalBytes, equalBytes, isSovereignError, type JsonObject } from "@sovereign/core";
import { parseTrustRoot, verifyAudit, verifyBundle } from "@sovereign/verify";
import { type AuditFile, chunked, textOf } from "./audit-file.ts";
import { Dice, type Fuzzed, mutate, rehash } from "./mutate.ts";

/** Of this process's own time, so that a busy machine makes nothing slow. */
const SLOW_US = 5_000_000;

interface Plan {
  readonly variants: number;
  readonly seed: number;
}

interface Judged {
  readonly verdict: string;
  /** Whether it may be VALID. */
  readonly harmless: boolean;
}

/** Make variants and judge each; null is no variant. What is refused throws one of these codes. */
async function fuzz(
  { variants, seed }: Plan,
  refusals: readonly string[],
  make: (dice: Dice) => { what: string; judge: () => Judged | Promise<Judged> } | null,
): Promise<Fuzzed> {
  const dice = new Dice(seed);
  const count = { variants: 0, refused: 0 };
  const verdicts: Record<string, number> = {};
  const [accepted, thrown, slow]: [string[], string[], string[]] = [[], [], []];
  while (count.variants < variants) {
    const variant = make(dice);
    if (variant === null) continue;
    count.variants += 1;
    const what = `seed ${seed}, variant ${count.variants}: ${variant.what}`;
    const start = process.cpuUsage();
    try {
      const { verdict, harmless } = await variant.judge();
      verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
      if (verdict === "VALID" && !harmless) accepted.push(what);
    } catch (error) {
      count.refused += 1;
      const ours = isSovereignError(error) && refusals.includes(error.code);
      if (!ours) thrown.push(`${what}: ${String(error)}`);
    }
    if (process.cpuUsage(start).user > SLOW_US) slow.push(what);
  }
  return { ...count, verdicts, accepted, thrown, slow };
}

/** Lines of an audit file changed, dropped, repeated, swapped or cut, and chained again or not. */
export async function fuzzAudit(file: AuditFile, trust: Uint8Array, plan: Plan): Promise<Fuzzed> {
  const genuine = textOf(file.lines);
  const checkpoint = { note: file.note, trust: parseTrustRoot(trust) };
  const refusals = ["ERR_AUDIT_MALFORMED"];
  return fuzz(plan, refusals, (dice) => {
    const holder = { lines: structuredClone(file.lines) } as unknown as JsonObject;
    const what = [mutate(holder, dice), ...(dice.below(2) === 0 ? [mutate(holder, dice)] : [])];
    const lines = holder["lines"];
    if (!Array.isArray(lines)) return null;
    if (dice.below(2) === 0) rehash(lines);
    let bytes: Uint8Array;
    try {
      bytes = textOf(lines as JsonObject[]);
    } catch {
      return null;
    }
    if (dice.below(4) === 0) what.push(cutOrFlip(bytes, dice));
    if (dice.below(8) === 0) bytes = bytes.subarray(0, dice.below(bytes.length + 1));
    // The line end behind the last line says nothing.
    if (equalBytes(bytes, genuine) || equalBytes(bytes, genuine.subarray(0, -1))) return null;
    const judge = async (): Promise<Judged> => {
      const { verdict } = await verifyAudit(chunked(bytes, 1 + dice.below(4096)), { checkpoint });
      const isLonger = equalBytes(bytes.subarray(0, genuine.length), genuine);
      return { verdict, harmless: isLonger };
    };
    return { what: what.join("; "), judge };
  });
}

/** The bytes of a signed note changed. */
export async function fuzzNote(file: AuditFile, trust: Uint8Array, plan: Plan): Promise<Fuzzed> {
  const lines = textOf(file.lines);
  const refusals = ["ERR_NOTE_MALFORMED", "ERR_CHECKPOINT_MALFORMED"];
  const root = parseTrustRoot(trust);
  return fuzz(plan, refusals, (dice) => {
    const bytes = Buffer.from(file.note);
    const what = [cutOrFlip(bytes, dice), ...(dice.below(3) === 0 ? [cutOrFlip(bytes, dice)] : [])];
    const cut = dice.below(4) === 0 ? dice.below(bytes.length) : bytes.length;
    const note = bytes.subarray(0, cut).toString("utf8");
    if (note === file.note) return null;
    const judge = async (): Promise<Judged> => {
      const checkpoint = { note, trust: root };
      const { verdict } = await verifyAudit(chunked(lines), { checkpoint });
      return { verdict, harmless: false };
    };
    return { what: what.join("; "), judge };
  });
}

/** A trust root comes from where it is believed: it may say anything, and is read or refused. */
export function fuzzTrust(bundle: Uint8Array, trust: Uint8Array, plan: Plan): Promise<Fuzzed> {
  const genuine = parseTrustRoot(trust) as unknown as JsonObject;
  return fuzz(plan, ["ERR_TRUST_ROOT_MALFORMED"], (dice) => {
    const variant = structuredClone(genuine);
    const what = mutate(variant, dice);
    let trustRoot: Uint8Array;
    try {
      trustRoot = canonicalBytes(variant);
    } catch {
      return null;
    }
    if (dice.below(5) === 0) cutOrFlip(trustRoot, dice);
    const judge = (): Judged => ({
      verdict: verifyBundle(bundle, { trustRoot }).verdict,
      harmless: true,
    });
    return { what, judge };
  });
}

function cutOrFlip(bytes: Uint8Array, dice: Dice): string {
  const at = dice.below(bytes.length || 1);
  const bit = dice.below(8);
  if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  return `bit ${bit} of byte ${at}`;
}
