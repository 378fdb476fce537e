import { ACTIONS, type ActionOutput } from "../actions/index.ts";
import {
  type EntryData,
  formats,
  parseFormat,
  type PlacedEntry,
  predicateType,
  SOURCE_SUMMARY_TYPE,
  type SourceStatement,
  STATEMENT_TYPE,
} from "../formats/index.ts";
import { parseCanonicalJson } from "../json/index.ts";
import { consentsIn } from "../keys/index.ts";

/** What the gates said, and the digest of the envelope that says so. */
export interface SourceReceipt {
  readonly status: "PASS" | "FAIL";
  readonly sha256: string;
}

type Authorized = EntryData<"execution.authorized">;

/** A move of the user's branch that was permitted, and happened. */
interface Moved {
  readonly authorized: Authorized;
  readonly output: ActionOutput<"git.bring_back">;
  readonly at: string;
}

/**
 * What a run's entries prove of the commit that it brought to a branch. The same entries give the same
 * statement, so whoever checks it makes it again.
 *
 * Level 2: the branch moved forward once, and the ledger says how. Level 3: policy permitted each
 * action, and none was merely observed. Level 4: policy asked for two people or more, and their
 * signed approvals name exactly these commits on this branch.
 *
 * @param entries of a run, in order, before the statement
 * @returns null where nothing can be said: no branch was moved, a gate failed, or actions had no
 *   signed authority
 */
export function sourceStatementOf(
  entries: readonly PlacedEntry[],
  receipt: SourceReceipt,
): SourceStatement | null {
  const [first] = entries;
  if (first?.entry.event_type !== "run.admitted" || receipt.status !== "PASS") return null;
  const admitted = first.entry.data as EntryData<"run.admitted">;
  const moved = moveOf(entries);
  if (moved === null || admitted.mode !== "sovereign") return null;
  const { authorized, output, at } = moved;
  const { resource } = authorized.action;
  const installation = `urn:sovereign:installation:${admitted.installation_id}`;
  const policy = admitted.policy_digest;
  return {
    _type: STATEMENT_TYPE,
    subject: [
      {
        uri: `urn:sovereign:run:${first.entry.run_id ?? ""}`,
        digest: { gitCommit: output.head, gitTree: output.tree },
        annotations: { sourceRefs: resource.startsWith("refs/") ? [resource] : [] },
      },
    ],
    predicateType: SOURCE_SUMMARY_TYPE,
    predicate: {
      verifier: { id: installation },
      timeVerified: at,
      resourceUri: installation,
      policy: { uri: `urn:sovereign:policy:${policy}`, digest: { sha256: policy } },
      inputAttestations: [
        { uri: predicateType("gate-receipt"), digest: { sha256: receipt.sha256 } },
      ],
      verificationResult: "PASSED",
      verifiedLevels: [levelOf(entries, authorized)],
      slsaVersion: "1.2",
    },
  };
}

/**
 * Read a statement about a source from bytes whose signature was verified.
 * @throws ERR_STATEMENT_MALFORMED
 */
export function parseSourceStatement(body: Uint8Array): SourceStatement {
  const value = parseCanonicalJson(body, { bytesMax: 64 * 1024 });
  return parseFormat(formats.sourceStatement, value, "statement", "ERR_STATEMENT_MALFORMED");
}

/** The last move that happened; null where none did, or where it moved nothing. */
function moveOf(entries: readonly PlacedEntry[]): Moved | null {
  let begun: Authorized | null = null;
  let moved: Moved | null = null;
  for (const { entry } of entries) {
    if (entry.event_type === "execution.authorized") {
      const data = entry.data as Authorized;
      if (data.action.type === "git.bring_back") begun = data;
    }
    if (entry.event_type !== "execution.completed" || begun === null) continue;
    const { step_id: step, output } = entry.data as EntryData<"execution.completed">;
    if (step !== begun.context.step_id) continue;
    const found = ACTIONS["git.bring_back"].output.safeParse(output);
    if (!found.success || found.data.commits.length === 0) return null;
    moved = { authorized: begun, output: found.data, at: entry.timestamp };
  }
  return moved;
}

function levelOf(
  entries: readonly PlacedEntry[],
  authorized: Authorized,
): SourceStatement["predicate"]["verifiedLevels"][0] {
  const isObserved = entries.some(
    ({ entry }) =>
      entry.event_type === "execution.authorized" && (entry.data as Authorized).decision.observed,
  );
  if (isObserved) return "SLSA_SOURCE_LEVEL_2";
  const { effect, approvals } = authorized.decision;
  const asked = effect === "step_up" ? (approvals?.required ?? 0) : 0;
  return Math.min(asked, consentsIn(authorized)) >= 2
    ? "SLSA_SOURCE_LEVEL_4"
    : "SLSA_SOURCE_LEVEL_3";
}
