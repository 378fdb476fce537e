import { statSync } from "node:fs";
import { dirname } from "node:path";
import { isSovereignError, quoted, sha256Hex, SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { acceptedPolicy, trustedDigest, trustPolicy } from "../../home/index.ts";
import { comparePolicies, describePolicy, parsePolicy } from "../../policy/index.ts";
import { findPolicy } from "./find-policy.ts";

export interface NamedBytes {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** What a repository's own policy allows, and whether it was accepted. */
export interface TrustReport {
  readonly policy: string;
  readonly sha256: string;
  /** In words; partly the repository's. */
  readonly allows: readonly string[];
  /** What the user accepted at this path before; null for nothing. */
  readonly before: {
    readonly sha256: string;
    readonly at: string;
    /** What differs in `allows`, each line with `-` or `+`; null where it cannot be told. */
    readonly changes: readonly string[] | null;
  } | null;
  readonly trusted: boolean;
}

/**
 * The policy that holds, read once: what is judged here is what applies. One that is named applies.
 * One that is found came with the repository, so it applies only as the user accepted it, here: the
 * same text in another repository names other files and other programs.
 *
 * @param home the data folder
 * @param folder a folder in the repository
 * @param named the file that the user named; undefined for none
 * @throws ERR_POLICY_MISSING, ERR_FILE_UNREADABLE; ERR_POLICY_UNTRUSTED with what to type
 */
export function readPolicy(home: string, folder: string, named: string | undefined): NamedBytes {
  const path = findPolicy(folder, named);
  const bytes = readNamed(path);
  if (named !== undefined) return { path, bytes };
  const trusted = trustedDigest(home, path);
  const found = sha256Hex(bytes);
  if (trusted === found) return { path, bytes };
  const what =
    trusted === null
      ? "came with the repository, and you have not accepted it"
      : "is not as you accepted it";
  const text = `${quoted(path)} ${what} (found SHA-256 ${found}). Nothing was run. To see what it allows: sovereign policy trust --dry-run ${quoted(path)}; to accept it leave out --dry-run; or name a policy: --policy FILE`;
  throw new SovereignError("ERR_POLICY_UNTRUSTED", text, { path, found, trusted });
}

/**
 * Accept a repository's own policy. What is described is what is accepted: it is read once.
 *
 * @param place the policy, or a folder in its repository
 * @throws ERR_POLICY_MISSING where it is no repository's own policy; what `parsePolicy` throws
 */
export function acceptPolicy(home: string, place: string, dryRun: boolean): TrustReport {
  const found = statSync(place, { throwIfNoEntry: false });
  const policy = findPolicy(found?.isFile() === true ? dirname(place) : place, undefined);
  requireSame(place, policy);
  const bytes = readNamed(policy);
  const allows = describePolicy(parsePolicy(bytes, policy));
  const before = changesSince(home, policy, allows);
  if (!dryRun) trustPolicy(home, policy, bytes);
  return { policy, sha256: sha256Hex(bytes), allows, before, trusted: !dryRun };
}

function changesSince(
  home: string,
  policy: string,
  allows: readonly string[],
): TrustReport["before"] {
  const accepted = acceptedPolicy(home, policy);
  if (accepted === null) return null;
  const { sha256, at, bytes } = accepted;
  try {
    const was = bytes === null ? null : describePolicy(parsePolicy(bytes, policy));
    return { sha256, at, changes: was === null ? null : comparePolicies(was, allows) };
  } catch (error) {
    // What an earlier version accepted need not be a policy to this one.
    if (!isSovereignError(error)) throw error;
    return { sha256, at, changes: null };
  }
}

/** Another file that is named needs no acceptance, and must not pass for the repository's own. */
function requireSame(place: string, policy: string): void {
  const named = statSync(place);
  if (!named.isFile()) return;
  const own = statSync(policy);
  if (named.dev === own.dev && named.ino === own.ino) return;
  const text = `Expected the repository's own policy, ${quoted(policy)}, found ${quoted(place)}: a file that --policy names needs no acceptance.`;
  throw new SovereignError("ERR_POLICY_MISSING", text);
}
