import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ComplianceBundle,
  type EntryData,
  isSovereignError,
  parseFormat,
  sha256Hex,
} from "@sovereign/core";
import { type CommitOutput, commitOutput } from "./effect-output.ts";
import {
  createPrivateRepository,
  formatPatch,
  type Git,
  readHead,
  type UserRepository,
} from "./git/index.ts";

/** What a real repository says of one step of an execution's evidence. */
export interface CustodyFinding {
  readonly step: string;
  readonly commit: string;
  /** Empty when the repository holds exactly what the evidence says. */
  readonly problems: readonly string[];
  /** False after a rollback: the commit may be there, and the branch is not on it. */
  readonly onBranch: boolean;
}

/**
 * Hold a bundle's chain of custody against a repository: each commit is there, with the parent and
 * the tree that were judged, and gives the patch whose digest was signed.
 *
 * @param bundle verified before: nothing of it is judged here
 */
export async function checkCustody(
  bundle: ComplianceBundle,
  repository: UserRepository,
): Promise<CustodyFinding[]> {
  const folder = mkdtempSync(join(tmpdir(), "sovereign-custody-"));
  try {
    const { commit: head } = await readHead(repository);
    const git = await createPrivateRepository(join(folder, "git"), repository, head);
    const findings: CustodyFinding[] = [];
    for (const { step, output } of commitsOf(bundle)) {
      findings.push(await checkCommit(git, head, step, output));
    }
    return findings;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function commitsOf(bundle: ComplianceBundle): { step: string; output: CommitOutput }[] {
  return bundle.entries.flatMap(({ entry }) => {
    if (entry.event_type !== "execution.completed") return [];
    const { step_id, output } = entry.data as EntryData<"execution.completed">;
    const step = /^(step_\d{2,3})\.commit$/.exec(step_id)?.[1];
    return step === undefined ? [] : [{ step, output: parseFormat(commitOutput, output, step_id) }];
  });
}

async function checkCommit(
  git: Git,
  head: string,
  step: string,
  expected: CommitOutput,
): Promise<CustodyFinding> {
  const { commit } = expected;
  try {
    const found = await git.text(["rev-parse", `${commit}^{tree}`, `${commit}^`]);
    const [tree, parent] = found.split("\n");
    const patch = sha256Hex(await formatPatch(git, commit));
    const problems = [
      ...(tree === expected.tree ? [] : [`its tree is ${tree ?? "none"}`]),
      ...(parent === expected.parent ? [] : [`its parent is ${parent ?? "none"}`]),
      ...(patch === expected.patch_sha256 ? [] : ["it gives another patch"]),
    ];
    const args = ["merge-base", "--is-ancestor", commit, head];
    return { step, commit, problems, onBranch: (await git.status(args, { answers: [1] })) === 0 };
  } catch (error) {
    if (!isSovereignError(error, "ERR_GIT_FAILED")) throw error;
    return { step, commit, problems: ["the repository does not have it"], onBranch: false };
  }
}
