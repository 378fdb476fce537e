import { digestOf } from "../digest/index.ts";
import type {
  JsonObject,
  JsonValue,
  ToolResultPack,
  ToolTaskPack,
  WorkScope,
} from "../formats/index.ts";
import {
  agentOfTool,
  commandsOfPack,
  differencesOf,
  differenceText,
  isSerious,
  promptOfPack,
  scopeJudge,
  timeoutOfPack,
  wordsOfCommand,
} from "../packs/index.ts";
import { sha256Hex } from "../digest/index.ts";
import { quoted, utf8Encode } from "../bytes/index.ts";
import { type Finding, type Gate, judged, notApplicable } from "./finding.ts";
import type { GateInputs } from "./inputs.ts";
import type { ToolGateInputs } from "./tool-inputs.ts";

type Checks = [boolean, string][];

const NO_PACK = "no task pack was issued";
const NO_RESULT = "the run has no result yet";

/** The fields of a result pack that a gate of their own holds, where it applies; TL-C holds the others. */
function heldElsewhere({ began }: ToolGateInputs["facts"], reviewed: boolean): string[] {
  return [
    "policy_attestation",
    ...(began ? ["run_metadata"] : []),
    ...(reviewed ? ["reviewer_signoff"] : []),
  ];
}

function isReviewed({ tool, request }: GateInputs): boolean {
  return tool?.task?.metadata?.requires_review === true || request?.requires_review === true;
}

/** Step 3: what a tool was asked, and what came of it. */
export const TOOL_GATES: readonly Gate[] = [
  {
    id: "TL-A",
    title: "pack completeness",
    asks: "The task pack has id, tool, repository state, scope, steps with their goals, prompts and acceptance, and it is exactly the one that the tool's run was authorised for and that ran.",
    reads: ["taskPack", "result"],
    judge: (inputs) => {
      const { taskPack, tool } = inputs;
      if (taskPack === null || tool === null) return notApplicable(NO_PACK);
      const { problem, value } = taskPack;
      return judged("the task pack is complete, and is the one that ran", [
        ...missingFields(value),
        [problem === null, `the task pack is not of its format: ${problem ?? ""}`],
        ...(tool.task === null ? [] : ranChecks(tool.task, tool, inputs)),
      ]);
    },
  },
  {
    id: "TL-B",
    title: "no direct write",
    asks: "Nothing of the tool's came into the repository but by commits that the executor made, and no adapter's source can write a file.",
    reads: ["sources", "resultPack", "sandboxProof", "result"],
    judge: (inputs) => (inputs.sources === null ? judgeWrites(inputs) : judgeAdapters(inputs)),
  },
  {
    id: "TL-C",
    title: "evidence",
    asks: "The result pack is what the evidence gives, field by field; a success has diffs, commits, the files that were expected, and a log of each verification command, which passed.",
    reads: ["resultPack", "result", "checksums", "patches"],
    judge: (inputs) =>
      withResult(inputs.tool, ({ task, said, found, facts }) => {
        const held = heldElsewhere(facts, isReviewed(inputs));
        const others = (pack: ToolResultPack | null): JsonObject => without(pack, held);
        const more = found.status === "success" && task !== null ? successChecks(task, found) : [];
        return judged(`${found.diffs.length} diffs in ${commitsOf(found)} commits`, [
          ...sameChecks("", others(said), others(found)),
          ...more,
        ]);
      }),
  },
  {
    id: "TL-D",
    title: "policy match",
    asks: "Every file that was changed is in the task's scope, policy was not violated, and the result pack says the same.",
    reads: ["taskPack", "resultPack", "checksums"],
    judge: ({ tool, checksums }) =>
      withResult(tool, ({ task, said, found }) => {
        const { policy_attestation: attestation } = found;
        const files = (checksums?.steps ?? []).flatMap((one) => one.files);
        return judged("the work matches scope and policy", [
          ...outsideChecks(
            files.map((one) => one.path),
            task?.work_scope,
          ),
          [attestation.scope_compliant, "the work does not keep to its scope"],
          [attestation.red_lines_respected, "red lines are not respected"],
          ...attestation.violations
            .filter(isSerious)
            .slice(0, 5)
            .map((one): Checks[0] => [false, `${one.place ?? ""}: ${one.rule}: ${one.message}`]),
          ...sameChecks("policy_attestation", said?.policy_attestation, attestation),
        ]);
      }),
  },
  {
    id: "TL-E",
    title: "replay",
    asks: "What is needed to repeat the work is known: the tool's version and program, the model, and the digest of the prompt.",
    reads: ["resultPack"],
    judge: ({ tool }) => {
      if (tool !== null && !tool.facts.began) return notApplicable("the tool never began");
      return withResult(tool, ({ said, found }) => {
        const {
          tool_version: version,
          prompt_hash: prompt,
          model_name: model,
        } = found.run_metadata;
        return judged(`the tool's version ${version ?? ""} is known`, [
          [version !== null && version !== "", "the tool's version is not recorded"],
          [prompt !== null && model !== null, "the prompt or the model is not recorded"],
          ...sameChecks("run_metadata", said?.run_metadata, found.run_metadata),
        ]);
      });
    },
  },
  {
    id: "TL-F",
    title: "human review",
    asks: "A result that requires review has the approval of a reviewer, over exactly its commits.",
    reads: ["taskPack", "resultPack"],
    judge: (inputs) => {
      if (inputs.tool !== null && !isReviewed(inputs)) {
        return notApplicable("no review is required");
      }
      return withResult(inputs.tool, ({ said, found }) => {
        const signoff = found.reviewer_signoff ?? null;
        return judged("a reviewer approved the result", [
          [signoff !== null, "the task pack does not say that a review is required"],
          [signoff?.approved === true, "no reviewer approved the result"],
          ...sameChecks("reviewer_signoff", said?.reviewer_signoff, signoff),
        ]);
      });
    },
  },
];

interface WithResult extends ToolGateInputs {
  readonly found: ToolResultPack;
}

function withResult(tool: ToolGateInputs | null, judge: (tool: WithResult) => Finding): Finding {
  if (tool === null) return notApplicable(NO_PACK);
  const { found } = tool;
  if (found !== null) return judge({ ...tool, found });
  if (tool.task !== null) return notApplicable(NO_RESULT);
  return judged("", [[false, "without a task pack no result can be computed"]]);
}

const FIELDS = [
  "tool_task_pack_id",
  "tool_type",
  "repo_state",
  "work_scope",
  "steps",
  "prompt_pack",
  "acceptance",
] as const;

/** What the seed asks of a pack, whatever else is in it. */
function missingFields(value: JsonValue): Checks {
  if (!isObject(value)) return [[false, "the task pack is no object"]];
  const missing = FIELDS.filter((name) => !Object.hasOwn(value, name));
  const { steps } = value;
  const list = Array.isArray(steps) ? steps : [];
  const whole = list.every(
    (one) => isObject(one) && Object.hasOwn(one, "step_id") && Object.hasOwn(one, "goal"),
  );
  return [
    [missing.length === 0, `the task pack lacks ${missing.join(", ")}`],
    [list.length > 0, "the task pack has no step"],
    [whole, "a step of the task pack has no id or no goal"],
  ];
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The pack is what was authorised, and what ran is what the pack says. */
function ranChecks(task: ToolTaskPack, tool: ToolGateInputs, inputs: GateInputs): Checks {
  const { asked } = tool.facts;
  const { result, taskPack } = inputs;
  const about: Checks =
    result === null
      ? []
      : [
          [result.base_commit === task.repo_state.commit_hash, "the run has another base commit"],
          [
            task.policy_digest === undefined || result.policy_digest === task.policy_digest,
            "the run has another policy",
          ],
        ];
  if (asked === null) return about;
  const { params, agent } = asked;
  const timeout = timeoutOfPack(task);
  const budget = task.limits?.budget_microusd ?? null;
  const model = task.metadata?.model_name;
  return [
    ...about,
    [params["task_pack"] === taskPack?.sha256, "another task pack was authorised"],
    [same(params["scope"], task.work_scope), "another scope was authorised"],
    [params["sha256"] === sha256Hex(utf8Encode(promptOfPack(task))), "the tool got other words"],
    [agent === agentOfTool(task.tool_type), "another tool ran"],
    [model === undefined || params["model"] === model, "another model was asked for"],
    [(params["timeout_seconds"] ?? null) === timeout, "another time limit was authorised"],
    [(params["budget_microusd"] ?? null) === budget, "another budget was authorised"],
    ...turnsChecks(task, params),
  ];
}

/** Runs from before turns were counted have no limit, whatever their pack says. */
function turnsChecks({ limits }: ToolTaskPack, { max_turns: authorised }: JsonObject): Checks {
  const wanted = limits?.turns ?? null;
  const holds = authorised === undefined || authorised === wanted;
  return [[holds, "another limit of turns was authorised"]];
}

function same(one: JsonValue | undefined, other: WorkScope): boolean {
  return one !== undefined && digestOf(one) === digestOf(other);
}

/** In a run: what came back is what the executor committed, and nothing else moved. */
function judgeWrites({ tool, actions, result, sandboxProof: proof }: GateInputs): Finding {
  if (tool === null) return notApplicable(NO_PACK);
  if (result?.status !== "success") return notApplicable("nothing came back");
  const made = actions.filter((one) => one.type === "git.commit" && one.completed);
  const commits = new Set(made.map(({ output }) => (isObject(output) ? output["commit"] : null)));
  const said = tool.said?.artifacts.commits ?? [];
  return judged(`${said.length} commits, each made by the executor`, [
    ...said.map(({ commit_hash: commit }): Checks[0] => [
      commits.has(commit),
      `the executor did not make the commit ${commit}`,
    ]),
    [proof?.main_repo_modified === false, "the user's branch was moved by something else"],
    [
      proof !== null && proof.main_repo_status_before === proof.main_repo_status_after,
      "files of the repository were changed by something else while the tool worked",
    ],
  ]);
}

const ADAPTERS = "packages/runtime/src/coding/adapters/";
/** Modules of Node that write files, start processes or open connections. */
const WRITERS =
  /^(?:node:)?(?:fs|fs\/promises|child_process|cluster|worker_threads|vm|net|http|https|http2|tls|dgram|sqlite|inspector|repl|wasi)$/;

/** For a release: adapters say how a tool is started and read what it says, and do nothing. */
function judgeAdapters({ sources }: GateInputs): Finding {
  const adapters = (sources ?? []).filter((one) => one.path.startsWith(ADAPTERS));
  return judged(`${adapters.length} sources of adapters, none of which writes`, [
    [adapters.length > 0, "no source of an adapter is there"],
    ...adapters.flatMap(({ path, imports }) =>
      imports
        .filter((one) => WRITERS.test(one))
        .map((one): Checks[0] => [false, `${path} imports ${one}`]),
    ),
  ]);
}

function successChecks(task: ToolTaskPack, found: ToolResultPack): Checks {
  const changed = new Set(
    found.diffs.filter((one) => one.diff_type !== "deleted").map((one) => one.file_path),
  );
  const expected = task.steps.flatMap((one) => one.expected_artifacts ?? []);
  const ran = new Map<string, NonNullable<ToolResultPack["test_logs"]["commands"]>[number]>();
  for (const one of found.test_logs.commands ?? []) {
    const words = JSON.stringify(one.argv);
    if (!ran.has(words)) ran.set(words, one);
  }
  return [
    [found.diffs.length > 0, "it says success and left no diff"],
    [commitsOf(found) > 0, "it says success and left no commit"],
    ...expected.map((path): Checks[0] => [changed.has(path), `${quoted(path)} was not made`]),
    ...commandsOfPack(task).map((command): Checks[0] => {
      const words = JSON.stringify(wordsOfCommand(command));
      const own = ran.get(words);
      return [own?.passed === true && own.log_sha256 !== null, `${quoted(command)} has no log`];
    }),
  ];
}

function commitsOf({ artifacts }: ToolResultPack): number {
  return artifacts.commits.length;
}

function outsideChecks(paths: readonly string[], scope: WorkScope | undefined): Checks {
  if (scope === undefined) return [];
  const problemOf = scopeJudge(scope);
  return paths.flatMap((path): Checks => {
    const problem = problemOf(path);
    return problem === null ? [] : [[false, `${quoted(path)}: ${problem}`]];
  });
}

const DIFFERENCES_SHOWN = 5;

/** What the pack says is what was found. */
function sameChecks(
  field: string,
  said: JsonValue | undefined,
  found: JsonValue | undefined,
): Checks {
  const all = differencesOf(said, found, field);
  return all
    .slice(0, DIFFERENCES_SHOWN)
    .map((one): Checks[0] => [false, `the result pack's ${differenceText(one)}`]);
}

function without(pack: ToolResultPack | null, fields: readonly string[]): JsonObject {
  const kept = Object.entries(pack ?? {}).filter(([name]) => !fields.includes(name));
  return Object.fromEntries(kept);
}
