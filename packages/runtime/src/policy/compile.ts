import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import {
  deepFreeze,
  digestOf,
  type JsonObject,
  parseFormat,
  parseStrictJson,
  policyFace,
  POLICY_DIALECT,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { type Demand, parseStepUp, stepUpText, strictestDemand } from "./demand.ts";
import { CEDAR_SCHEMA, prepareCedar, validateCedar } from "./cedar.ts";
import type { CedarPolicies } from "./cedar-module.ts";
import {
  FILE_OPERATIONS,
  GIT_OPERATIONS,
  type PolicyTools,
  type SandboxPolicy,
  sandboxPolicy,
} from "./document.ts";

/** A pattern of the policy, with the name under which Cedar hears that it matched. */
export interface Pattern {
  readonly name: string;
  readonly kind: "path" | "deny" | "ci" | "host" | "command" | "resource";
  readonly glob: string;
  /** Of a command the patterns of its arguments; of a resource the type of action. */
  readonly args: readonly string[];
}

/** A policy that is ready to decide. */
export interface CompiledPolicy {
  /**
   * SHA-256 over everything that decides: rules, schema, patterns, approvals, limits, tools, mode, and the
   * dialect, which says what patterns mean.
   */
  readonly digest: string;
  readonly mode: "enforce" | "observe";
  readonly rules: CedarPolicies;
  readonly patterns: readonly Pattern[];
  readonly limits: SandboxPolicy["limits"] | null;
  /** What commands see besides; null where nothing is asked for. */
  readonly tools: PolicyTools | null;
  /** For whoever wrote it: patterns that can never match. They decide nothing. */
  readonly warnings: readonly string[];
}

/** True for the types that are decided by pattern, and so cannot stand in `operations`. */
export function isPatterned(type: string): boolean {
  return policyFace(type).matches !== "resource";
}

/** True for the types whose resource is a path: they are allowed where a path pattern matches. */
export function isFileType(type: string): boolean {
  return policyFace(type).matches === "path";
}

/** Compile a sandbox policy to Cedar. */
export function compileSandboxPolicy(policy: SandboxPolicy, path: string): CompiledPolicy {
  const rules: Record<string, PolicyJson> = {};
  const stepUps = stepUpsOf(policy, path);
  const permit = (id: string, type: string, needs: string | null): void => {
    if (Object.hasOwn(rules, id)) throw repeated(path, id);
    rules[id] = rule("permit", type, needs, stepUps.get(type) ?? null);
  };
  for (const one of policy.operations) {
    if (typeof one === "string") permit(`operation:${one}`, one, null);
    else
      for (const glob of one.resources) {
        const name = `on:${one.type}:${glob}`;
        permit(name, one.type, name);
      }
  }
  for (const name of policy.allowed_git_operations) {
    for (const type of GIT_OPERATIONS[name] ?? []) permit(`operation:${type}`, type, null);
  }
  for (const name of policy.allowlist.file_operations) {
    const type = FILE_OPERATIONS[name] as string;
    for (const glob of policy.allowlist.paths) permit(`${type}:${glob}`, type, `path:${glob}`);
  }
  for (const { id } of policy.allowlist.commands)
    permit(`command:${id}`, "command.run", `command:${id}`);
  permitNames(policy, permit);
  for (const glob of policy.deny_paths)
    rules[`deny:${glob}`] = rule("forbid", null, `deny:${glob}`, null);
  const { mode, limits } = policy;
  return finish(
    { mode, rules, patterns: patternsOf(policy), limits, tools: toolsOf(policy) },
    path,
  );
}

function toolsOf({ presets, mounts }: SandboxPolicy): PolicyTools | null {
  if (presets.length === 0 && mounts.length === 0) return null;
  return { presets: [...new Set(presets)].sort(), mounts };
}

/** The type of action that an entry of `operations` allows. */
export function typeOf(entry: SandboxPolicy["operations"][number]): string {
  return typeof entry === "string" ? entry : entry.type;
}

/** The types of action that a policy allows on anything at all. */
export function allowedTypes(policy: SandboxPolicy): Set<string> {
  const { file_operations, paths, commands } = policy.allowlist;
  return new Set([
    ...policy.operations.map(typeOf),
    ...policy.allowed_git_operations.flatMap((name) => GIT_OPERATIONS[name] ?? []),
    ...(paths.length > 0 ? file_operations.map((name) => FILE_OPERATIONS[name] as string) : []),
    ...(commands.length > 0 ? ["command.run"] : []),
    ...(policy.hosts.length > 0 ? ["http.call"] : []),
    ...agentPatterns(policy).flatMap(({ args }) => args),
  ]);
}

/** What each operation waits for; where several entries name it, the strictest. */
function stepUpsOf({ approvals }: SandboxPolicy, path: string): Map<string, string> {
  const demands = new Map<string, Demand[]>();
  for (const { operations, required, roles } of approvals) {
    const demand = parseStepUp(
      `${path}: approvals for ${operations.join(", ")}`,
      `${required} of ${roles.join(",")}`,
    );
    for (const operation of operations) {
      demands.set(operation, [...(demands.get(operation) ?? []), demand]);
    }
  }
  const texts = new Map<string, string>();
  for (const [operation, all] of demands) {
    const strictest = strictestDemand(all);
    if (strictest !== null) texts.set(operation, stepUpText(strictest));
  }
  return texts;
}

function repeated(path: string, id: string): SovereignError {
  return new SovereignError("ERR_POLICY_INVALID", `${path}: ${id} stands there twice`);
}

/** Take Cedar policies as they are. */
export function compileCedar(rules: CedarPolicies, path: string): CompiledPolicy {
  return finish({ mode: "enforce", rules, patterns: [], limits: null, tools: null }, path);
}

const frozenPolicy = z.strictObject({
  mode: z.enum(["enforce", "observe"]),
  rules: z.record(z.string(), z.unknown()),
  patterns: z.array(
    z.strictObject({
      name: z.string(),
      kind: z.enum(["path", "deny", "ci", "host", "command", "resource"]),
      glob: z.string(),
      args: z.array(z.string()),
    }),
  ),
  limits: sandboxPolicy.shape.limits.nullable(),
  tools: sandboxPolicy.pick({ presets: true, mounts: true }).nullable().default(null),
});

/** Everything of a policy that decides, as JSON: {@link openFrozenPolicy} makes the same of it. */
export function freezePolicy({ mode, rules, patterns, limits, tools }: CompiledPolicy): JsonObject {
  return { mode, rules, patterns, limits, tools } as unknown as JsonObject;
}

/**
 * A policy that was frozen, under a digest that is computed anew.
 * @param bytes untrusted
 * @throws ERR_POLICY_INVALID
 */
export function openFrozenPolicy(bytes: Uint8Array, path: string): CompiledPolicy {
  const { limits, rules, ...rest } = parseFormat(
    frozenPolicy,
    parseStrictJson(bytes),
    path,
    "ERR_POLICY_INVALID",
  );
  return finish({ ...rest, rules: rules as CedarPolicies, limits }, path);
}

/**
 * A copy that nobody else holds, of a policy that is what its digest says: a program that embeds us
 * may hand in one that it changed, or change it later.
 *
 * @param policy untrusted
 * @throws ERR_POLICY_INVALID
 */
export function ownPolicy(policy: CompiledPolicy): CompiledPolicy {
  let digest: string;
  let own: Omit<CompiledPolicy, "digest">;
  try {
    // Read once: a getter answers the copy alone, and a proxy is no policy.
    ({ digest, ...own } = deepFreeze(structuredClone({ ...policy })));
    const { mode, rules, patterns, limits, tools } = own;
    if (digestOfPolicy({ mode, rules, patterns, limits, tools }) === digest) {
      return deepFreeze({ ...own, digest });
    }
  } catch (cause) {
    throw new SovereignError("ERR_POLICY_INVALID", "The policy cannot be read.", {}, cause);
  }
  const text = "The policy is not the one that its digest names: parse it anew.";
  throw new SovereignError("ERR_POLICY_INVALID", text, { digest });
}

function digestOfPolicy({ tools, ...policy }: Omit<CompiledPolicy, "digest" | "warnings">): string {
  return digestOf({
    ...(policy as unknown as JsonObject),
    // Without it a policy keeps the digest that it had before there was such a thing.
    ...(tools === null ? {} : { tools: tools as unknown as JsonObject }),
    dialect: POLICY_DIALECT,
    schema: CEDAR_SCHEMA,
  });
}

function finish(policy: Omit<CompiledPolicy, "digest" | "warnings">, path: string): CompiledPolicy {
  validateCedar(policy.rules, path);
  const digest = digestOfPolicy(policy);
  prepareCedar(digest, policy.rules);
  return deepFreeze({ ...policy, digest, warnings: [] });
}

function patternsOf(policy: SandboxPolicy): Pattern[] {
  const { paths, ci_paths, host_run_paths, commands } = policy.allowlist;
  const simple = (kind: "path" | "deny" | "ci" | "host", globs: readonly string[]): Pattern[] =>
    globs.map((glob) => ({ name: `${kind}:${glob}`, kind, glob, args: [] }));
  return [
    ...simple("path", paths),
    ...simple("deny", policy.deny_paths),
    ...simple("ci", [...new Set([...host_run_paths, ...ci_paths])]),
    ...simple("host", policy.hosts),
    ...agentPatterns(policy),
    ...policy.operations.flatMap((one): Pattern[] =>
      typeof one === "string"
        ? []
        : one.resources.map((glob) => ({
            name: `on:${one.type}:${glob}`,
            kind: "resource",
            glob,
            args: [one.type],
          })),
    ),
    ...commands.map(
      ({ id, executable, allowed_args }): Pattern => ({
        name: `command:${id}`,
        kind: "command",
        glob: executable,
        args: allowed_args,
      }),
    ),
  ];
}

/** What is allowed by a name alone: agents and their tools, and hosts. */
function permitNames(
  policy: SandboxPolicy,
  permit: (id: string, type: string, needs: string | null) => void,
): void {
  for (const { name, args } of agentPatterns(policy)) permit(name, args[0] ?? "", name);
  for (const host of policy.hosts) permit(`host:${host}`, "http.call", `host:${host}`);
}

/** Rules named `tool:` allow a tool's calls unread; `judged-tool:` those whose arguments are allowed. */
function agentPatterns({ agent }: SandboxPolicy): Pattern[] {
  const { run = [], tools = {} } = agent ?? {};
  const pattern = (name: string, glob: string, type: string): Pattern => ({
    name: `${name}:${glob}`,
    kind: "resource",
    glob,
    args: [type],
  });
  return [
    ...run.map((name) => pattern("agent", name, "agent.run")),
    ...Object.entries(tools).map(([name, how]) =>
      pattern(how === "allow" ? "tool" : "judged-tool", name, "agent.tool_call"),
    ),
  ];
}

function rule(
  effect: "permit" | "forbid",
  type: string | null,
  needs: string | null,
  stepUp: string | null,
): PolicyJson {
  const context = (attribute: string): unknown => ({
    ".": { left: { Var: "context" }, attr: attribute },
  });
  const conditions: unknown[] = [];
  if (type !== null) {
    conditions.push({
      kind: "when",
      body: { "==": { left: context("type"), right: { Value: type } } },
    });
  }
  if (needs !== null) {
    const body = { contains: { left: context("matched"), right: { Value: needs } } };
    conditions.push({ kind: "when", body });
  }
  return {
    effect,
    principal: { op: "All" },
    action: { op: "==", entity: { type: "Action", id: "execute" } },
    resource: { op: "All" },
    conditions: conditions as PolicyJson["conditions"],
    ...(stepUp === null ? {} : { annotations: { step_up: stepUp } }),
  };
}
