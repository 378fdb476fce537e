import { quoted } from "../bytes/index.ts";
import { digestOf } from "../digest/index.ts";
import type { Checksums, RepositoryRollbackProof, TapeEvent } from "../formats/index.ts";
import { isKnownOperation } from "../actions/index.ts";
import { type Dialect, POLICY_DIALECT } from "../formats/index.ts";
import { type Finding, type Gate, judged, notApplicable } from "./finding.ts";
import { completedActions } from "./ledger-actions.ts";
import type { GateInputs, LedgerAction } from "./inputs.ts";
import { wasCiFile, wasGitControl } from "./first-table.ts";
import { judgeTree, TREE_WORK_MAX } from "./tree-judgement.ts";
import type { TreeEntry } from "./tree-links.ts";

const NO_RESULT = "no request was executed";

/** Step 2: what the executor did. */
export const EXECUTOR_GATES: readonly Gate[] = [
  {
    id: "EX-A",
    title: "allowlist only",
    asks: "Every operation that ended is of a known type, the ledger has its authorisation under the policy, and no file that git obeys was changed, no repository left, and files that tools on other machines run were changed with leave alone.",
    reads: ["tape", "checksums"],
    judge: ({ tape, actions, result, checksums }) => {
      if (tape === null || result === null) return notApplicable(NO_RESULT);
      const ended = tape.filter((line) => line.event === "operation_end");
      const authorised = new Set(
        actions.filter((one) => one.completed && one.effect !== "deny").map((one) => one.stepId),
      );
      const checks = ended.flatMap((line): [boolean, string][] => {
        const type = textOf(line.details["type"]);
        const place = placeOf(line);
        return [
          [isKnownOperation(type), `${place} is of the type ${type}`],
          [authorised.has(place), `${place} has no authorisation in the ledger`],
        ];
      });
      const steering = steeringChecks(checksums, actions);
      return judged(`${ended.length} operations, each authorised`, [...checks, ...steering]);
    },
  },
  {
    id: "EX-B",
    title: "no subprocess",
    asks: "No source of ours starts a process outside the one module that is made for it.",
    reads: ["sources"],
    judge: ({ sources }) => {
      if (sources === null) return notApplicable("it is judged for each release, over the sources");
      const wrong = sources.filter(
        ({ path, imports }) =>
          !path.startsWith("packages/runtime/src/process/") &&
          imports.some((one) => /^(node:)?(child_process|cluster)$/.test(one)),
      );
      const checks = wrong.map(({ path }): [boolean, string] => [
        false,
        `${path} starts processes`,
      ]);
      return judged(`${sources.length} sources, none of which starts a process`, checks);
    },
  },
  {
    id: "EX-C",
    title: "sandbox proof",
    asks: "The work was done in a work tree apart, and the user's branch moved by nothing else.",
    reads: ["sandboxProof"],
    judge: (inputs) =>
      whenSuccessful(inputs, ({ sandboxProof }) =>
        judged("the work was done apart", [
          [sandboxProof !== null, "there is no sandbox proof"],
          [sandboxProof?.is_worktree === true, "the work was not done in a work tree"],
          [sandboxProof?.main_repo_modified === false, "the user's branch was modified"],
        ]),
      ),
  },
  {
    id: "EX-D",
    title: "bring-back proof",
    asks: "As many commits came back as steps were committed: a step that changed nothing made none.",
    reads: ["sandboxProof"],
    judge: (inputs) =>
      whenSuccessful(inputs, ({ sandboxProof, actions }) => {
        const made = actions.filter((one) => one.type === "git.commit" && one.completed).length;
        const back = sandboxProof?.commits_brought_back.length ?? 0;
        return judged(`${back} commits came back`, [
          [back === made, `${back} commits came back of ${made}`],
        ]);
      }),
  },
  {
    id: "EX-E",
    title: "audit completeness",
    asks: "Every step that started on the tape ended on it with checksums, unless the run ended with it.",
    reads: ["tape"],
    judge: ({ tape, result }) => {
      if (tape === null || result === null) return notApplicable(NO_RESULT);
      const last = lastOfEachStep(tape);
      const unchanged = new Set((result.unchanged_steps ?? []).map((one) => one.step_id));
      const checks = [...last].map(([step, line]): [boolean, string] => {
        if (line.event === "step_failed") {
          return [result.status !== "success", `${step} failed in a run that succeeded`];
        }
        const checksums = line.details["checksums"];
        const has = typeof checksums === "object" && checksums !== null;
        const isUnchanged = unchanged.has(step) && line.details["commit"] === null;
        return [
          line.event === "step_end" && has && (isUnchanged || Object.keys(checksums).length > 0),
          `${step} did not end with checksums`,
        ];
      });
      return judged(`${last.size} steps, each with its end`, [
        [last.size > 0 || result.steps_planned === 0, "no step is on the tape"],
        ...checks,
      ]);
    },
  },
  {
    id: "EX-F",
    title: "rollback proof",
    asks: "Where a run was rolled back, the branch is at its base, every file that the run changed has its checksum again, and every other file of the tree is the base's or as it was.",
    reads: ["rollbackProof"],
    judge: ({ rollbackProof: proof }) => {
      if (proof === null) return notApplicable("nothing was rolled back");
      const { checksums_verified: verified, files_changed_count: changed } = proof;
      return judged(`${verified} files are as they were`, [
        [proof.success, "the rollback did not succeed"],
        [proof.checksums_match, "checksums do not match"],
        [verified === changed, `${verified} of ${changed} files were verified`],
        [proof.after_head === proof.base_commit, "the branch is not at its base"],
        [proof.status_before === proof.status_after, "edits elsewhere were changed"],
        ...everyFileChecks(proof),
      ]);
    },
  },
  {
    id: "EX-G",
    title: "review gate",
    asks: "A request that requires review came back only with approvals over exactly its bytes.",
    reads: ["request"],
    judge: ({ request, actions }) => {
      if (request?.requires_review !== true) return notApplicable("no review is required");
      const back = actions.filter((one) => one.type === "git.bring_back");
      const checks = back.map((one): [boolean, string] => [
        one.effect === "step_up" && one.approvals >= Math.max(1, one.approvalsRequired),
        `${one.approvals} approvals of ${Math.max(1, one.approvalsRequired)}`,
      ]);
      return judged("nothing came back without its approvals", checks);
    },
  },
  {
    id: "EX-H",
    title: "determinism baseline",
    asks: "Everything that a repetition is compared by is there: request, policy, base, tree ids and patch digests.",
    reads: ["request", "result", "tape", "checksums"],
    judge: ({ request, requestValue, result, tape, checksums, artifacts }) => {
      if (result === null) return notApplicable(NO_RESULT);
      const patches = result.steps.map((step): [boolean, string] => [
        artifacts.get(`patches/${step.step_id}.patch`) === step.patch_sha256,
        `the patch of ${step.step_id} is not the one that the result names`,
      ]);
      return judged("the baseline is complete", [
        [
          request !== null && digestOf(requestValue) === result.request_digest,
          "the request is not the one that ran",
        ],
        [tape !== null && checksums !== null, "the tape or the checksums are missing"],
        [
          result.status !== "success" ||
            result.steps.length + (result.unchanged_steps ?? []).length === result.steps_planned,
          "steps are missing",
        ],
        ...patches,
      ]);
    },
  },
];

function everyFileChecks({
  every_file: every,
  details,
}: RepositoryRollbackProof): [boolean, string][] {
  if (every === null) return [];
  const restored = new Set(details.map((one) => one.path));
  const other = every.kept.find((one) => restored.has(one.path));
  const counted = every.as_base + every.converted + every.kept.length;
  return [
    [counted === every.total, `${counted} of ${every.total} files of the tree were looked at`],
    [every.kept_unchanged, "files that the run had not changed are not as they were"],
    [every.converted <= restored.size, "more files were converted than were restored"],
    [other === undefined, `${other?.path ?? ""} is not the base's`],
  ];
}

/**
 * A step's commit names the files it changes that tools on other machines run, and so policy
 * decided on them: its decision names the leave. What git itself obeys no step changes, and none
 * leaves a repository. Of the tree what the run changed is known here, and the links that lead to
 * it; the chain of custody in a repository judges all of it, and these links, too.
 */
function steeringChecks(
  checksums: Checksums | null,
  actions: readonly LedgerAction[],
): [boolean, string][] {
  const dialect = dialectOf(actions);
  if (dialect === 1) return firstDialectChecks(checksums, actions);
  const tree = new Map<string, TreeEntry>();
  const work = { left: TREE_WORK_MAX };
  const commits = completedActions(actions);
  return (checksums?.steps ?? []).flatMap(({ step_id: step, files, links }) => {
    for (const { path, after } of files) {
      if (after === null) tree.delete(path);
      else tree.set(path, { kind: "file", target: null });
    }
    for (const { path, target } of links ?? []) tree.set(path, { kind: "link", target });
    // Nothing was changed that could be refused: the tree need not be looked at again.
    if (files.length === 0) return [];
    const allowed = allowedByCommit(step, commits);
    const changed = files.map((one) => one.path);
    const rules = links === undefined ? "first" : "all";
    const { refused, hostRun } = judgeTree(tree, changed, dialect, rules, work);
    const wrong = [
      ...refused.map(({ path, why }) => `${step} changed ${quoted(path)}: ${why}`),
      ...hostRun
        .filter((path) => !allowed.has(path))
        .map((path) => `${step} changed ${quoted(path)}, which tools run, without leave`),
    ];
    return wrong.map((problem): [boolean, string] => [false, problem]);
  });
}

/** The files that tools run and that a step may change: its commit names them, and had leave. */
function allowedByCommit(
  step: string,
  commits: ReadonlyMap<string, LedgerAction>,
): ReadonlySet<string> {
  const made = commits.get(`${step}.commit`);
  const leave = made?.rules.some((rule) => rule.startsWith("ci:")) ?? false;
  const named = made?.params["ci_files"];
  const paths = leave && Array.isArray(named) ? named : [];
  return new Set(paths.filter((path) => typeof path === "string"));
}

/**
 * Decisions say by which dialect they were made, from the second on. A run is judged by the latest
 * of them: to leave it out of another lifts nothing.
 */
function dialectOf(actions: readonly LedgerAction[]): 1 | Dialect {
  const named = actions.map((one) => one.dialect);
  if (named.length === 0) return POLICY_DIALECT;
  return named.reduce((latest, one) => (one > latest ? one : latest));
}

/** In the words of then: a verifier holds what it finds against the receipt, to the byte. */
function firstDialectChecks(
  checksums: Checksums | null,
  actions: readonly LedgerAction[],
): [boolean, string][] {
  const commits = completedActions(actions);
  return (checksums?.steps ?? []).flatMap(({ step_id: step, files }) => {
    const allowed = allowedByCommit(step, commits);
    return files.flatMap(({ path }): [boolean, string][] => [
      [!wasGitControl(path), `${step} changed ${path}, which git obeys`],
      [!wasCiFile(path) || allowed.has(path), `${step} changed ${path}, which hosts run`],
    ]);
  });
}

export function whenSuccessful(
  inputs: GateInputs,
  judge: (inputs: GateInputs) => Finding,
): Finding {
  if (inputs.result === null) return notApplicable(NO_RESULT);
  if (inputs.result.status !== "success") return notApplicable("nothing came back");
  return judge(inputs);
}

/** The ledger's name for what a line of the tape is about. */
export function placeOf(line: TapeEvent): string {
  const operation = textOf(line.details["op_id"]);
  return line.step_id === null ? operation : `${line.step_id}.${operation}`;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A run that was resumed has a step's start more than once; its last line counts. */
function lastOfEachStep(tape: readonly TapeEvent[]): Map<string, TapeEvent> {
  const last = new Map<string, TapeEvent>();
  for (const line of tape) {
    const about = ["step_start", "step_end", "step_failed"].includes(line.event);
    if (about && line.step_id !== null) last.set(line.step_id, line);
  }
  return last;
}
