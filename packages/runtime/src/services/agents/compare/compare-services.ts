import {
  type ArtifactRef,
  canonicalBytes,
  type EntryData,
  type JsonObject,
  parseStrictJson,
  SovereignError,
  wordsOfCommand,
} from "@sovereign/core";
import { adapterOf } from "../../../coding/index.ts";
import { INSTALLATION_KEYS, type KeySlot } from "../../../authority/index.ts";
import { inspectRepository, readHead } from "../../../executor/index.ts";
import type { Settings } from "../../../home/index.ts";
import type { Installation } from "../../../installation/index.ts";
import { readRun } from "../../../ledger/index.ts";
import { type CompiledPolicy, parsePolicy } from "../../../policy/index.ts";
import { ArtifactStore } from "../../../runs/index.ts";
import type { Opened } from "../../opened.ts";
import { enrolFirstUse } from "../../runs/first-use.ts";
import { type RunOptions, submitRun } from "../../runs/lifecycle.ts";
import { requireRoles } from "../../runs/required-roles.ts";
import { reportOf, type RunReport } from "../../runs/run-result.ts";
import type { AgentRunInput } from "../agent-reports.ts";
import { STARTER_POLICY } from "../agent-request.ts";
import { judgeWaiting } from "../collect-result.ts";
import { type PreparedTask, prepareTyped } from "../task-packs.ts";
import {
  type CandidateEnd,
  type ComparedResult,
  compareKind,
  type CompareProgram,
  type Contender,
} from "./compare-kind.ts";

export interface AgentCompareInput extends Omit<AgentRunInput, "agent" | "model" | "decision"> {
  readonly contenders: readonly { readonly agent: string; readonly model: string | null }[];
  /** How many judge each result. */
  readonly validators: number;
}

/** How a comparison ended, with the result that was chosen. */
export interface AgentCompareReport extends RunReport {
  readonly results: readonly ComparedResult[];
  /** The run of the agent whose result was chosen; null where none was. */
  readonly chosen: string | null;
}

const VALIDATORS_MAX = 20;

/** A policy as it was read. */
interface PolicyFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** What a comparison is made with. */
interface CompareParts {
  readonly installation: Installation;
  readonly settings: Settings;
  readonly options: RunOptions;
  readonly policy: PolicyFile;
  /** Has one agent do the task, in a run of its own whose result waits. */
  readonly run: (contender: Contender) => Promise<RunReport>;
}

/** Carries out a task that was made ready, in an installation that is open. */
type Start = (
  installation: Installation,
  input: AgentRunInput,
  task: PreparedTask,
) => Promise<RunReport>;

/**
 * Give one task to several agents, apart; have validators judge each result; and choose by their votes.
 * What may not apply is refused before anything is started.
 */
export function comparing(
  settings: Settings,
  opened: Opened,
  optionsOf: (installation: Installation, input: AgentCompareInput) => RunOptions,
  start: Start,
): (input: AgentCompareInput) => Promise<AgentCompareReport> {
  return async (input) => {
    const contenders = contendersOf(input);
    // Validators verify: a result that fails is voted on, and its votes say why.
    const one = (contender: Contender): AgentRunInput => {
      return { ...input, ...contender, verify: [], decision: "hold", branch: null };
    };
    const tasks = new Map<Contender, PreparedTask>();
    for (const contender of contenders) {
      tasks.set(contender, await prepareTyped(settings, one(contender), input.role));
    }
    const [first] = contenders;
    if (first === undefined) throw new Error("there is nobody to compare");
    const { policy } = await prepareTyped(
      settings,
      { ...one(first), verify: input.verify },
      input.role,
    );
    return opened((installation) =>
      compare(input, contenders, {
        installation,
        settings,
        options: optionsOf(installation, input),
        policy: withValidators(policy),
        run: async (contender) => {
          const task = tasks.get(contender);
          if (task === undefined) throw new Error("this task was not made ready");
          return start(installation, one(contender), task);
        },
      }),
    );
  };
}

async function compare(
  input: AgentCompareInput,
  contenders: readonly Contender[],
  parts: CompareParts,
): Promise<AgentCompareReport> {
  const { installation, options } = parts;
  const validators = rolesOf(input.validators);
  const policy = judgingPolicy(parsePolicy(parts.policy.bytes, parts.policy.path));
  await ensureValidators(parts, input, validators);
  const repository = await inspectRepository(input.repository);
  const { commit: base } = await readHead(repository);
  const program: CompareProgram = {
    results: [],
    chosen: null,
    candidate: async (index) => {
      const contender = contenders[index];
      if (contender === undefined) throw new Error(`there is no contender ${index}`);
      return candidateOf(installation, input, await parts.run(contender));
    },
    gates: async (run) => {
      const { tenantId } = input;
      const row = await installation.store.findRun(tenantId, run);
      return row === null ? [] : judgeWaiting({ installation, tenantId }, row);
    },
  };
  const wanted = {
    task: input.task,
    contenders,
    validators,
    verify: input.verify.map(wordsOfCommand),
    repository,
    base,
    policy,
    mode: "sovereign",
  } as const;
  const report = reportOf(await submitRun(compareKind(program), options, wanted));
  return { ...report, results: program.results, chosen: program.chosen };
}

function contendersOf({ contenders }: AgentCompareInput): Contender[] {
  if (contenders.length < 2) {
    const text = `Expected two agents or more to compare, found ${contenders.length}. Type: --with claude,codex`;
    throw new SovereignError("ERR_USAGE", text);
  }
  return contenders.map(({ agent, model }) => ({
    agent,
    model: model ?? adapterOf(agent).defaultModel,
  }));
}

function rolesOf(count: number): string[] {
  if (Number.isInteger(count) && count >= 1 && count <= VALIDATORS_MAX) {
    return Array.from({ length: count }, (_, at) => `validator_${at + 1}`);
  }
  const text = `Expected --validators from 1 to ${VALIDATORS_MAX}, found ${count}.`;
  throw new SovereignError("ERR_USAGE", text);
}

/** @throws ERR_POLICY_INVALID where the policy lets nobody judge */
function judgingPolicy(policy: CompiledPolicy): CompiledPolicy {
  const allows = Object.keys(policy.rules).some((id) => /^(?:operation|on):agent\.judge/.test(id));
  if (allows || policy.limits === null) return policy;
  const text =
    'The policy lets no validator judge a result. Add to its operations: { type: agent.judge, resources: ["validator_*"] }';
  throw new SovereignError("ERR_POLICY_INVALID", text);
}

/** The built-in policy, which also lets validators judge. Others say so themselves. */
function withValidators(policy: PolicyFile): PolicyFile {
  if (policy.path !== STARTER_POLICY) return policy;
  const document = parseStrictJson(policy.bytes) as { operations: JsonObject[] } & JsonObject;
  const judging = { type: "agent.judge", resources: ["validator_*"] };
  const operations = [...document.operations, judging];
  return { path: policy.path, bytes: canonicalBytes({ ...document, operations }) };
}

/** One key for each validator: one key, one vote. */
async function ensureValidators(
  { installation, settings }: CompareParts,
  input: AgentCompareInput,
  validators: readonly string[],
): Promise<void> {
  const { keyLog, keystore } = installation;
  if (keyLog.head().count === 0) {
    await keyLog.ensure(keystore, [
      ...INSTALLATION_KEYS,
      ...[input.role, ...validators].map((role): KeySlot => ({ purpose: "role", role })),
    ]);
    return;
  }
  for (const role of validators)
    await enrolFirstUse(installation, settings, { role, asks: [] }, input);
  requireRoles(keyLog.current(), validators);
}

/** What an agent's run came to, as its ledger says. */
async function candidateOf(
  { store, folder }: Installation,
  { tenantId }: AgentCompareInput,
  { runId: run, code }: RunReport,
): Promise<CandidateEnd> {
  let patch: ArtifactRef | undefined;
  let made: JsonObject | undefined;
  for await (const { entry } of readRun(store, tenantId, run)) {
    if (entry.event_type !== "execution.completed") continue;
    const { artifacts, output } = entry.data as EntryData<"execution.completed">;
    const found = artifacts.find(({ name }) => name.startsWith("patches/"));
    if (found === undefined) continue;
    patch = found;
    made = output as JsonObject;
  }
  const { commit, tree } = made ?? {};
  if (patch === undefined || typeof commit !== "string" || typeof tree !== "string") {
    return { run, result: null, code };
  }
  const bytes = await new ArtifactStore(folder.run(run)).get(patch);
  return { run, result: { run, commit, tree, patch: patch.sha256, bytes }, code };
}
