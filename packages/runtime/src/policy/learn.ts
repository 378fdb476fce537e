import {
  type Action,
  cutText,
  isCiFile,
  isSovereignError,
  type PolicyDecision,
  policyFace,
} from "@sovereign/core";
import { isFileType } from "./compile.ts";
import { resourcesOf } from "./resources.ts";
import { FILE_OPERATIONS, GIT_OPERATIONS, sandboxPolicy, type SandboxPolicy } from "./document.ts";

/** An action that was denied, or would have been, with the decision that said so. */
export interface Refused {
  readonly action: Action;
  readonly decision: PolicyDecision;
}

/** What a run asked people for: it is asked for again by whatever allows that type of action. */
export interface AskedApproval {
  readonly type: string;
  readonly approvals: NonNullable<PolicyDecision["approvals"]>;
}

/** Rules to be read by a person, and what a person has to decide without us. */
export interface Proposal {
  readonly policy: SandboxPolicy;
  /** What is not proposed, and why; one line each. */
  readonly leftOut: readonly string[];
}

const ENTRIES_MAX = 500;

/**
 * The smallest sandbox policy that allows exactly what was refused: to be read by a person before
 * it is used. What was refused may be an attacker's try, so nothing is generalised, nothing that
 * a rule forbids is opened, and files that hosts run are never proposed: those are named.
 */
export function proposePolicy(
  policyId: string,
  refused: readonly Refused[],
  asked: readonly AskedApproval[],
): Proposal {
  const leftOut = new Set<string>();
  const actions = refused
    .filter(({ action, decision }) => {
      const why = unproposable(action, decision);
      if (why !== null) leftOut.add(`${action.type} on ${shown(action.resource)}: ${why}`);
      return why === null;
    })
    .map(({ action }) => action);
  const files = actions.filter((action) => isFileType(action.type));
  const hosts = actions.filter((action) => policyFace(action.type).matches === "host");
  const gits = actions.filter((action) => gitName(action.type) !== null);
  const others = actions.filter(
    (action) => !isCommand(action) && ![...files, ...hosts, ...gits].includes(action),
  );
  const policy = sandboxPolicy.parse({
    policy_id: policyId,
    schema_version: "1.0.0",
    operations: [...Map.groupBy(others, ({ type }) => type)].map(([type, all]) => ({
      type,
      resources: unique(all.map(({ resource }) => resource)),
    })),
    allowed_git_operations: unique(gits.flatMap(({ type }) => gitName(type) ?? [])),
    allowlist: {
      file_operations: Object.entries(FILE_OPERATIONS)
        .filter(([, type]) => files.some((action) => action.type === type))
        .map(([name]) => name),
      paths: unique(files.flatMap(resourcesOf)),
      commands: commandsOf(actions),
    },
    hosts: unique(
      hosts.filter(({ type }) => type !== "network.connect").map(({ resource }) => resource),
    ),
    approvals: approvalsOf(new Set(actions.map(({ type }) => type)), asked),
  });
  return { policy, leftOut: [...leftOut] };
}

/** Why an action is not proposed; null when it is. */
function unproposable(action: Action, decision: PolicyDecision): string | null {
  if (decision.rules.some((rule) => rule.startsWith("deny:"))) {
    return `${decision.rules.join(", ")} forbids it; change that rule by hand if you mean to`;
  }
  const resources = namedBy(action);
  if (resources === null) return "its paths cannot be read; look at what asked for it";
  if (isFileType(action.type) && resources.some(isCiFile)) {
    return "hosts or tools run this file; name it in allowlist.host_run_paths by hand if you mean to";
  }
  const words = [...resources, ...(isCommand(action) ? argumentsOf(action) : [])];
  if (words.some((word) => /[*?]/.test(word))) {
    return "it has a * or ?, which a pattern cannot name alone; write the pattern by hand";
  }
  if (words.some((word) => word.length > 300 || word.length === 0)) {
    return "no pattern is as long as it, or empty; write the pattern by hand";
  }
  return null;
}

/** One entry for each command line: no argument of one is allowed to another. */
function commandsOf(actions: readonly Action[]): object[] {
  const lines = new Map<string, { executable: string; allowed_args: string[] }>();
  for (const action of actions) {
    if (!isCommand(action)) continue;
    const allowed_args = unique(argumentsOf(action));
    const line = { executable: action.resource, allowed_args };
    lines.set(JSON.stringify(line), line);
  }
  return [...lines.values()]
    .slice(0, ENTRIES_MAX)
    .map((line, index) => ({ id: `learned-${index + 1}`, ...line }));
}

function approvalsOf(types: ReadonlySet<string>, asked: readonly AskedApproval[]): object[] {
  const entries = asked
    .filter(({ type }) => types.has(type))
    .map(({ type, approvals }) => ({ operations: [type], ...approvals }));
  return [...new Map(entries.map((one) => [JSON.stringify(one), one])).values()];
}

function gitName(type: string): string | null {
  const found = Object.entries(GIT_OPERATIONS).find(([, types]) => types.includes(type));
  return found?.[0] ?? null;
}

/** All that it acts on; null where policy refused it because that cannot be read. */
function namedBy(action: Action): string[] | null {
  try {
    return resourcesOf(action);
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}

function isCommand({ type }: Action): boolean {
  return policyFace(type).matches === "command";
}

function argumentsOf(action: Action): string[] {
  const argv = action.params["argv"];
  return Array.isArray(argv) ? argv.filter((word) => typeof word === "string") : [];
}

function shown(text: string): string {
  return JSON.stringify(cutText(text, 100));
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)].sort().slice(0, ENTRIES_MAX);
}
