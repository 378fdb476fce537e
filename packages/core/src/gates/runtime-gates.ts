import { isKnownOperation } from "../actions/index.ts";
import type { ExecutionResult, JsonObject, StepResult } from "../formats/index.ts";
import { placeOf, whenSuccessful } from "./executor-gates.ts";
import { type Gate, judged, notApplicable } from "./finding.ts";
import { completedActions } from "./ledger-actions.ts";
import type { GateInputs, LedgerAction } from "./inputs.ts";

/** What must hold of every execution, whichever way it ended. */
export const RUNTIME_GATES: readonly Gate[] = [
  {
    id: "R1",
    title: "a denial stops the run",
    asks: "What policy denied stands on the tape and in the ledger, nothing came back, and the branch is at its base.",
    reads: ["result", "tape"],
    judge: ({ result, tape, refusals, actions }) => {
      if (result?.status !== "denied") return notApplicable("nothing was denied");
      const onTape = tape?.some((line) => line.event === "operation_refused") ?? false;
      return judged("the denial is recorded and nothing came back", [
        [onTape, "the denial is not on the tape"],
        [refusals.length > 0, "the denial is not in the ledger"],
        [!cameBack(actions), "commits came back although something was denied"],
        [result.head_commit === result.base_commit, "the branch moved"],
      ]);
    },
  },
  {
    id: "R2",
    title: "the work tree is forced",
    asks: "The work tree was there before the first step, and the commits are a line from the base to the branch.",
    reads: ["tape", "result", "sandboxProof"],
    judge: (inputs) =>
      whenSuccessful(inputs, ({ tape, result, sandboxProof }) => {
        const order = tape?.map((line) => line.event) ?? [];
        const made = order.indexOf("worktree_created");
        const started = order.indexOf("step_start");
        const steps = result?.steps ?? [];
        const { base_commit: base, head_commit: head } = result ?? {};
        return judged("the commits are a line from the base", [
          [made >= 0 && (started < 0 || made < started), "no work tree before the first step"],
          [isLine(base ?? "", steps), "the commits are not a line from the base"],
          [(steps.at(-1)?.commit ?? base) === head, "the branch is not at the last commit"],
          [sandboxProof?.base_commit === base, "the sandbox proof has another base"],
        ]);
      }),
  },
  {
    id: "R3",
    title: "evidence chain",
    asks: "Tape, checksums and result exist, and every file that the checksums name has that digest in the ledger.",
    reads: ["tape", "checksums", "result"],
    judge: ({ tape, checksums, result, artifacts }) => {
      if (result === null) return notApplicable("no request was executed");
      const named = checksums?.evidence ?? [];
      const checks = named.map((one): [boolean, string] => [
        artifacts.get(one.name) === one.sha256,
        `${one.name} is not the file that the checksums name`,
      ]);
      return judged(`${named.length} files with their digests`, [
        [tape !== null, "there is no tape"],
        [checksums !== null, "there are no checksums"],
        [named.length > 0, "the checksums name no evidence"],
        ...checks,
      ]);
    },
  },
  {
    id: "R4",
    title: "chain of custody",
    asks: "For each step: authorised commit, its patch's digest, the patch that was brought back, the same tree id; or that it changed nothing.",
    reads: ["result"],
    judge: (inputs) =>
      whenSuccessful(inputs, ({ result, actions, artifacts }) => {
        const back = actions.find((one) => one.type === "git.bring_back" && one.completed);
        const commits = completedActions(actions);
        const checks = (result?.steps ?? []).map((step, index) =>
          custodyOf(step, index, { commits, artifacts, back }),
        );
        const unchanged = unchangedChecks(result, actions);
        // Where every step changed nothing, there was nothing to bring.
        if (checks.length === 0 && back === undefined && result?.unchanged_steps !== undefined) {
          const made = actions.some((one) => one.type === "git.commit" && one.completed);
          return judged("no step made a commit", [
            ...unchanged,
            [!made, "a commit was made and did not come back"],
            [result.head_commit === result.base_commit, "the branch moved"],
            [result.head_tree === result.base_tree, "the branch has another tree"],
          ]);
        }
        const output = (back?.output ?? {}) as JsonObject;
        return judged(`${checks.length} steps, each followed from binding to branch`, [
          [back !== undefined, "the ledger has no completed bring-back"],
          [output["tree"] === result?.head_tree, "another tree came back"],
          [output["head"] === result?.head_commit, "another commit came back"],
          ...checks,
          ...unchanged,
        ]);
      }),
  },
  {
    id: "P0-N1",
    title: "unknown actions are denied",
    asks: "No operation of a type that nobody defined was authorised; the ledger has each one's refusal.",
    reads: ["tape"],
    judge: ({ tape, actions, refusals }) => {
      const asked = (tape ?? []).filter(
        (line) => line.event === "operation_start" && !isKnownOperation(typeOf(line.details)),
      );
      const unknown = new Set(asked.map(placeOf));
      const authorised = actions.filter(
        ({ stepId, type }) =>
          unknown.has(stepId) || type.startsWith("unknown.") || isForeign(stepId, type),
      );
      if (unknown.size === 0 && authorised.length === 0) {
        return notApplicable("no unknown action was asked for");
      }
      // Whoever refused it: the kernel, policy, or the kill switch before either was asked.
      const refused = new Set(refusals.map(({ stepId }) => stepId));
      const open = [...unknown].filter((place) => !refused.has(place));
      return judged(`${unknown.size} unknown actions, each denied`, [
        ...authorised.map(({ stepId, type }): [boolean, string] => [
          false,
          `${stepId} was authorised as ${type}`,
        ]),
        ...open.map((place): [boolean, string] => [false, `${place} was never refused`]),
      ]);
    },
  },
  {
    id: "P0-N2",
    title: "commits prove themselves",
    asks: "Every commit's message names the request's digest and its step, in lines that are ours.",
    reads: ["patches", "result"],
    judge: (inputs) =>
      whenSuccessful(inputs, ({ patches, result }) => {
        const checks = (result?.steps ?? []).map((step): [boolean, string] => {
          const head = headOf(patches.get(`patches/${step.step_id}.patch`) ?? "");
          const request = `Sovereign-Request: ${result?.exec_request_id ?? ""} ${result?.request_digest ?? ""}`;
          const named = head.includes(request) && head.includes(`Sovereign-Step: ${step.step_id}`);
          return [named, `the commit of ${step.step_id} does not name its request and step`];
        });
        return judged(`${checks.length} commits name their request and step`, checks);
      }),
  },
  {
    id: "P-G",
    title: "the user's own is untouched",
    asks: "What git says of the user's edits, staged, unstaged and untracked, is the same before and after.",
    reads: ["sandboxProof"],
    judge: (inputs) =>
      whenSuccessful(inputs, ({ sandboxProof: proof }) =>
        judged("the user's own edits are as they were", [
          [
            proof !== null && proof.main_repo_status_before === proof.main_repo_status_after,
            "the user's own edits are not as they were",
          ],
        ]),
      ),
  },
];

/** An action in an operation's place that no operation may be; a step's commit is the step's own. */
function isForeign(stepId: string, type: string): boolean {
  const [, operation] = /^step_\d{2,3}\.(.+)$/.exec(stepId) ?? [];
  return operation !== undefined && !isKnownOperation(type);
}

function cameBack(actions: readonly LedgerAction[]): boolean {
  return actions.some((one) => one.type === "git.bring_back" && one.completed);
}

function isLine(base: string, steps: readonly StepResult[]): boolean {
  return steps.every((step, index) => step.parent === (steps[index - 1]?.commit ?? base));
}

interface Custody extends Pick<GateInputs, "artifacts"> {
  readonly commits: ReadonlyMap<string, LedgerAction>;
  readonly back: LedgerAction | undefined;
}

function custodyOf(step: StepResult, index: number, custody: Custody): [boolean, string] {
  const { commits: completed, artifacts, back } = custody;
  const made = completed.get(`${step.step_id}.commit`);
  const patches = (back?.params["patches"] ?? []) as JsonObject[];
  const commits = ((back?.output ?? {}) as JsonObject)["commits"];
  const expected = { commit: step.commit, tree: step.tree, sha256: step.patch_sha256 };
  const { commit, tree, patch_sha256: sha256 } = (made?.output ?? {}) as JsonObject;
  const brought = patches[index] ?? {};
  const holds =
    same({ commit, tree, sha256 }, expected) &&
    same(
      { commit: brought["commit"], tree: brought["tree"], sha256: brought["sha256"] },
      expected,
    ) &&
    artifacts.get(`patches/${step.step_id}.patch`) === step.patch_sha256 &&
    Array.isArray(commits) &&
    commits[index] === step.commit;
  return [holds, `the custody of ${step.step_id} is broken`];
}

/**
 * A step that made no commit left the tree that the last commit before it has, by the word of each
 * of its operations.
 */
function unchangedChecks(
  result: ExecutionResult | null,
  actions: readonly LedgerAction[],
): [boolean, string][] {
  const done = new Map<string, LedgerAction[]>();
  for (const one of actions.filter(({ completed }) => completed)) {
    const step = one.stepId.slice(0, Math.max(0, one.stepId.indexOf(".")));
    const own = done.get(step);
    if (own === undefined) done.set(step, [one]);
    else own.push(one);
  }
  return (result?.unchanged_steps ?? []).flatMap(({ step_id: step, tree }) => {
    const before = result?.steps.findLast((one) => numberOf(one.step_id) < numberOf(step));
    const expected = before?.tree ?? result?.base_tree;
    const own = done.get(step) ?? [];
    const last = own.at(-1)?.output;
    const left = typeof last === "object" && last !== null && "tree" in last ? last["tree"] : null;
    return [
      [own.every((one) => one.type !== "git.commit"), `${step} made a commit`],
      [tree === expected && left === expected, `${step} changed files and made no commit`],
    ];
  });
}

/** `step_07` is 7. */
function numberOf(step: string): number {
  return Number(step.slice("step_".length));
}

function same(
  found: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(expected).every(([name, value]) => found[name] === value);
}

function typeOf(details: JsonObject): string {
  const { type } = details;
  return typeof type === "string" ? type : "";
}

/** The message of a patch's commit: what stands before its first diff. */
function headOf(patch: string): string {
  const end = patch.search(/^(---|diff --git )/m);
  return end < 0 ? patch : patch.slice(0, end);
}
