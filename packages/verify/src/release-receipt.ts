import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  base64Decode,
  canonicalBytes,
  digestOf,
  isSovereignError,
  type JsonValue,
  judgeRelease,
  parseEnvelope,
  parsePublicKey,
  parseStatement,
  parseStrictJson,
  type PublicKey,
  type ReleaseReceipt,
  SovereignError,
  STATEMENT_PAYLOAD_TYPE,
  verifyEnvelope,
} from "@sovereign/core";

/** What is found of a release's receipt. UNSIGNED and UNTRUSTED_KEY say that all else is right. */
export interface ReleaseReport {
  readonly verdict: "VALID" | "UNSIGNED" | "UNTRUSTED_KEY" | "INVALID";
  /** What the gates say here. */
  readonly status: ReleaseReceipt["status"];
  readonly release: string;
  readonly commit: string | null;
  readonly sources: number;
  readonly problems: readonly string[];
}

/**
 * The sources of a release, by path: what its gates judge. Links are not followed.
 * @throws ERR_FILE_UNREADABLE where there are none
 */
export function readReleaseSources(folder: string): Map<string, Uint8Array> {
  if (!existsSync(join(folder, "packages"))) {
    const text = `Cannot read ${folder}: expected a release's repository, with a folder packages.`;
    throw new SovereignError("ERR_FILE_UNREADABLE", text);
  }
  const sources = new Map<string, Uint8Array>();
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(folder, path), { withFileTypes: true })) {
      const below = `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(below);
      else if (entry.isFile() && below.endsWith(".ts")) {
        sources.set(below, readFileSync(join(folder, below)));
      }
    }
  };
  for (const entry of readdirSync(join(folder, "packages"), { withFileTypes: true })) {
    const names = entry.isDirectory() ? readdirSync(join(folder, "packages", entry.name)) : [];
    if (names.includes("src")) visit(`packages/${entry.name}/src`);
  }
  return sources;
}

/**
 * Verify a release's receipt against its sources: they are exactly those that it names, and the
 * gates say of them what it says. The verdicts that count are the ones found here.
 *
 * @param receipt untrusted
 * @param key whose signature is wanted, received by another way; null for nobody's
 * @throws ERR_ENVELOPE_MALFORMED, ERR_STATEMENT_MALFORMED, ERR_JSON_… for what is no receipt
 */
export function verifyReleaseReceipt(
  receipt: Uint8Array,
  sources: ReadonlyMap<string, Uint8Array>,
  key: PublicKey | null,
): ReleaseReport {
  const { body, trust, problem } = open(receipt, key);
  const { predicate, subject } = parseStatement(body, "release-receipt");
  const found = judgeRelease(sources);
  const problems = problem === null ? [] : [problem];
  for (const one of differences(predicate.inputs, found.inputs)) problems.push(one);
  const value = (results: unknown): string => digestOf(results as JsonValue);
  if (subject.length !== 1 || subject[0]?.digest.sha256 !== digestOf(predicate.inputs)) {
    problems.push("its subject is not the sources that it names");
  }
  if (predicate.status !== found.status || value(predicate.results) !== value(found.results)) {
    problems.push(`it says ${predicate.status}, and the gates say ${found.status}`);
  }
  const { release, commit } = predicate;
  const verdict = problems.length > 0 ? "INVALID" : trust;
  const counted = Object.keys(found.inputs).length;
  return { verdict, status: found.status, release, commit, sources: counted, problems };
}

interface Opened {
  readonly body: Uint8Array;
  readonly trust: Exclude<ReleaseReport["verdict"], "INVALID">;
  readonly problem: string | null;
}

/** An unsigned receipt is the statement itself, so that nobody takes it for a signed one. */
function open(receipt: Uint8Array, key: PublicKey | null): Opened {
  const value = parseStrictJson(receipt);
  if (isStatement(value)) {
    return { body: canonicalBytes(value), trust: "UNSIGNED", problem: null };
  }
  const envelope = parseEnvelope(value);
  const body = base64Decode(envelope.payload);
  if (key === null) return { body, trust: "UNTRUSTED_KEY", problem: null };
  try {
    verifyEnvelope(envelope, [key]);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { body, trust: "UNTRUSTED_KEY", problem: error.message };
  }
  const problem =
    envelope.payloadType === STATEMENT_PAYLOAD_TYPE ? null : "what is signed is no statement";
  return { body, trust: "VALID", problem };
}

/** By either field, so that what is wrong is said of the statement that was meant. */
function isStatement(value: JsonValue): boolean {
  return (
    typeof value === "object" && value !== null && ("_type" in value || "predicateType" in value)
  );
}

const SHOWN = 20;

function differences(
  named: Readonly<Record<string, string>>,
  found: Readonly<Record<string, string>>,
): string[] {
  const paths = [...new Set([...Object.keys(named), ...Object.keys(found)])].sort();
  const wrong = paths.flatMap((path) => {
    if (!Object.hasOwn(found, path)) return [`${path} is not there`];
    if (!Object.hasOwn(named, path)) return [`${path} was not judged`];
    return named[path] === found[path] ? [] : [`${path} is another file`];
  });
  const more = wrong.length > SHOWN ? [`and ${wrong.length - SHOWN} more`] : [];
  return [...wrong.slice(0, SHOWN), ...more];
}

/**
 * Read a public key as `openssl pkey -pubout` writes it.
 * @throws ERR_FILE_UNREADABLE where none is in it; ERR_BYTES_MALFORMED, ERR_KEY_MALFORMED
 */
export function parsePublicKeyPem(text: string): PublicKey {
  const [, inner = ""] =
    /-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----/.exec(text) ?? [];
  if (inner === "") {
    const expected = "expected -----BEGIN PUBLIC KEY-----: an Ed25519 key in PEM";
    throw new SovereignError("ERR_FILE_UNREADABLE", `The key file: ${expected}.`);
  }
  return parsePublicKey(base64Decode(inner.replaceAll(/\s/g, "")));
}
