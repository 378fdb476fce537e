import {
  agentOfTool,
  commandsOfPack,
  isSovereignError,
  promptOfPack,
  SovereignError,
  timeoutOfPack,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import {
  type AgentAdapter,
  adapterOf,
  findProgram,
  type GivenPack,
  isInstalled,
  issueTaskPack,
  PACK_BYTES_MAX,
  parseTaskPack,
  splitWords,
} from "../../coding/index.ts";
import { type Head, inspectRepository, readHead } from "../../executor/index.ts";
import type { Settings } from "../../home/index.ts";
import { parsePolicy } from "../../policy/index.ts";
import { systemClock, timestampOf } from "../../system/index.ts";
import { type NamedBytes, readPolicy } from "../exec/read-policy.ts";
import { movedFrom } from "./agent-kind.ts";
import type { AgentRunInput, DispatchInput, PackInput } from "./agent-reports.ts";
import { type AgentOrder, starterPolicy } from "./agent-request.ts";
import { agentsFolder } from "./agents-folder.ts";

/** A task that can be carried out: its words, the policy that it is under, and its pack. */
export interface PreparedTask {
  readonly order: AgentOrder;
  readonly policy: NamedBytes;
  readonly given: GivenPack;
  /** UTC, whole seconds. */
  readonly at: string;
}

/**
 * Make a task pack of what was typed.
 * @param named what `--command` says; undefined where nothing is run yet
 * @throws ERR_TOOL_PACK_INVALID, ERR_AGENT_UNKNOWN, ERR_REQUEST_INVALID
 */
export async function prepareTyped(
  { home, environment }: Settings,
  input: PackInput & Pick<AgentRunInput, "transcript">,
  role: string,
  named?: string | null,
): Promise<PreparedTask> {
  const { agent, task, verify, scope, forbid, review } = input;
  const { timeoutSeconds, budgetMicrousd, turnsMax } = input;
  const limits = { timeoutSeconds, budgetMicrousd, turnsMax };
  const adapter = adapterOf(agent);
  const model = input.model ?? adapter.defaultModel;
  const command = named === undefined ? null : commandOf(adapter, named);
  const { transcript = false } = input;
  const order = { agent, role, task, model, command, verify, ...limits, transcript };
  const policy = policyOf(home, input, order);
  const head = await readHead(await inspectRepository(input.repository));
  const at = timestampOf(systemClock).replace(/\.\d+Z$/, "Z");
  const version = installedVersion(adapter, agentsFolder(environment));
  const given = issueTaskPack(
    { agent, version, model, task, verify, ...limits, scope, forbid, review },
    { branch: head.ref, commit: head.commit, policyDigest: digestOfPolicy(policy), at },
  );
  return { order: ordered(order, given), policy, given, at };
}

/**
 * Read a task pack of somebody's, and hold it against what is here: the commit, the policy, the tool's
 * version.
 *
 * @throws ERR_TOOL_PACK_INVALID, ERR_REPOSITORY_MOVED, ERR_AGENT_VERSION
 */
export async function prepareGiven(
  { home, environment }: Settings,
  input: DispatchInput,
): Promise<PreparedTask> {
  const given = parseTaskPack(readNamed(input.file, PACK_BYTES_MAX), input.file);
  const { pack } = given;
  const agent = agentOfTool(pack.tool_type);
  const adapter = adapterOf(agent);
  const order = {
    agent,
    role: input.role,
    task: promptOfPack(pack),
    model: pack.metadata?.model_name ?? adapter.defaultModel,
    command: commandOf(adapter, input.command),
    verify: commandsOfPack(pack),
    timeoutSeconds: timeoutOfPack(pack),
    budgetMicrousd: pack.limits?.budget_microusd ?? null,
    turnsMax: pack.limits?.turns ?? null,
    transcript: input.transcript ?? false,
  };
  const policy = policyOf(home, input, order);
  requirePolicy(pack.policy_digest, digestOfPolicy(policy), input.file);
  requireHead(given, await readHead(await inspectRepository(input.repository)));
  requireVersion(pack.metadata?.tool_version, adapter, agentsFolder(environment));
  const at = timestampOf(systemClock).replace(/\.\d+Z$/, "Z");
  return { order: ordered(order, given), policy, given, at };
}

/** @throws ERR_REQUEST_INVALID */
function commandOf(adapter: AgentAdapter, command: string | null): string[] | null {
  const { name } = adapter;
  const isKnown = isInstalled(adapter);
  if (isKnown && command === null) return null;
  if (!isKnown && command !== null) return splitWords(command);
  const text = isKnown
    ? `Expected no --command: the program of ${name} is installed. For a program of your own: agent run custom --command "PROGRAM {task}"`
    : `Expected --command with the agent's program, such as: agent run ${name} TASK --command "PROGRAM ARGUMENTS"`;
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}

function ordered(order: AgentOrder, { pack, sha256 }: GivenPack): AgentOrder {
  const review = pack.metadata?.requires_review === true;
  return { ...order, pack: { sha256, scope: pack.work_scope, review } };
}

function digestOfPolicy({ bytes, path }: NamedBytes): string {
  return parsePolicy(bytes, path).digest;
}

function requirePolicy(wanted: string | undefined, found: string, file: string): void {
  if (wanted === undefined || wanted === found) return;
  const text = `${file}: at policy_digest: the task is for the policy ${wanted}, found ${found}. Name that policy: --policy FILE`;
  throw new SovereignError("ERR_TOOL_PACK_INVALID", text);
}

function requireHead({ pack }: GivenPack, head: Head): void {
  const { branch, commit_hash: commit } = pack.repo_state;
  if (commit !== head.commit) throw movedFrom(commit, head.commit);
  if (branch === null || branch === head.ref || `refs/heads/${branch}` === head.ref) return;
  const text = `The task pack is for the branch ${branch}, and ${head.ref ?? "no branch"} is checked out. Check that branch out, or make a new pack: sovereign tool pack`;
  throw new SovereignError("ERR_REPOSITORY_MOVED", text);
}

function requireVersion(wanted: string | undefined, adapter: AgentAdapter, folder: string): void {
  const found = isInstalled(adapter) ? findProgram(adapter, folder).version : "unknown";
  if (wanted === undefined || wanted === found) return;
  const text = `The task pack wants ${adapter.name} ${wanted}, found ${found}. Install that version, or make a new pack: sovereign tool pack`;
  throw new SovereignError("ERR_AGENT_VERSION", text, { agent: adapter.name, version: found });
}

/** Null where it is not installed: whoever runs it is told then. */
function installedVersion(adapter: AgentAdapter, folder: string): string | null {
  if (!isInstalled(adapter)) return null;
  try {
    return findProgram(adapter, folder).version;
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return null;
  }
}

/** The policy that is named, else the repository's own where the user accepted it, else the one that is built in. */
function policyOf(
  home: string,
  { policy, repository }: Pick<PackInput, "policy" | "repository">,
  order: AgentOrder,
): NamedBytes {
  try {
    return readPolicy(home, repository, policy);
  } catch (error) {
    const isAbsent = error instanceof SovereignError && error.code === "ERR_POLICY_MISSING";
    if (policy !== undefined || !isAbsent || !error.message.startsWith("No policy is named")) {
      throw error;
    }
    return starterPolicy(order);
  }
}
