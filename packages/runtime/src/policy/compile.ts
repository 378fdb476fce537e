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
import type { YamlFile } from "./plain-yaml.ts";

/** A pattern of the policy, with the name under which Cedar hears that it matched. */
export interface Pattern {
  readonly name: string;
  readonly kind: "path" | "deny" | "ci" | "host" | "command" | "resource";
  readonly glob: string;
  /**
   * Of a command the patterns of its arguments; of a resource the type of action, and of a host,
   * too, where it counts for one type alone.
   */
  readonly args: readonly string[];
}

/** The action by which a sandbox reaches a host. */
const CONNECT = "network.connect";

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
export function compileSandboxPolicy(
  policy: SandboxPolicy,
  { placeOf }: Pick<YamlFile, "placeOf">,
): CompiledPolicy {
  const rules: Record<string, PolicyJson> = {};
  const stepUps = stepUpsOf(policy, placeOf);
  for (const { id, type, needs, at } of permitsOf(policy)) {
    if (Object.hasOwn(rules, id)) throw repeated(placeOf(at), id);
    rules[id] = rule("permit", type, needs, stepUps.get(type) ?? null);
  }
  for (const glob of policy.deny_paths)
    rules[`deny:${glob}`] = rule("forbid", null, `deny:${glob}`, null);
  const { mode, limits } = policy;
  const patterns = patternsOf(policy);
  return finish({ mode, rules, patterns, limits, tools: toolsOf(policy) }, () => placeOf([]));
}

/** One thing that a policy allows, and where it says so. */
interface Permit {
  readonly id: string;
  readonly type: string;
  /** The pattern that must match; null for none. */
  readonly needs: string | null;
  readonly at: readonly PropertyKey[];
}

function permitsOf(policy: SandboxPolicy): Permit[] {
  const { operations, allowed_git_operations: gits, allowlist, hosts, network } = policy;
  const { file_operations: files, paths, commands } = allowlist;
  return [
    ...operations.flatMap((one, index): Permit[] => {
      const at = ["operations", index];
      if (typeof one === "string") return [{ id: `operation:${one}`, type: one, needs: null, at }];
      return one.resources.map((glob, of) => {
        const id = `on:${one.type}:${glob}`;
        return { id, type: one.type, needs: id, at: [...at, "resources", of] };
      });
    }),
    ...gits.flatMap((name, index) =>
      (GIT_OPERATIONS[name] ?? []).map((type): Permit => {
        const at = ["allowed_git_operations", index];
        return { id: `operation:${type}`, type, needs: null, at };
      }),
    ),
    ...files.flatMap((name, of) => {
      const type = FILE_OPERATIONS[name] as string;
      const again = files.indexOf(name) < of ? ["allowlist", "file_operations", of] : null;
      return paths.map((glob, index): Permit => {
        const at = again ?? ["allowlist", "paths", index];
        return { id: `${type}:${glob}`, type, needs: `path:${glob}`, at };
      });
    }),
    ...commands.map(({ id }, index): Permit => {
      const name = `command:${id}`;
      const at = ["allowlist", "commands", index];
      return { id: name, type: "command.run", needs: name, at };
    }),
    ...agentPatterns(policy).map(({ name, args }): Permit => {
      return { id: name, type: args[0] ?? "", needs: name, at: ["agent"] };
    }),
    ...hosts.map((host, index): Permit => {
      const id = `host:${host}`;
      return { id, type: "http.call", needs: id, at: ["hosts", index] };
    }),
    ...(network?.hosts ?? []).map((host, index): Permit => {
      const id = `network:${host}`;
      return { id, type: CONNECT, needs: id, at: ["network", "hosts", index] };
    }),
  ];
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
    ...((policy.network?.hosts.length ?? 0) > 0 ? [CONNECT] : []),
    ...agentPatterns(policy).flatMap(({ args }) => args),
  ]);
}

/** What each operation waits for; where several entries name it, the strictest. */
function stepUpsOf(
  { approvals }: SandboxPolicy,
  placeOf: YamlFile["placeOf"],
): Map<string, string> {
  const demands = new Map<string, Demand[]>();
  for (const [index, { operations, required, roles }] of approvals.entries()) {
    const demand = parseStepUp(
      `${placeOf(["approvals", index])}: approvals for ${operations.join(", ")}`,
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

function repeated(place: string, id: string): SovereignError {
  return new SovereignError("ERR_POLICY_INVALID", `${place}: ${id} stands there twice`);
}

/** True where a policy names hosts that commands and agents may connect to. */
export function opensHosts({ patterns }: CompiledPolicy): boolean {
  return patterns.some(isNetworkPattern);
}

/** True for a pattern of `network.hosts`. */
export function isNetworkPattern({ kind, args }: Pattern): boolean {
  return kind === "host" && args[0] === CONNECT;
}

/** Take Cedar policies as they are. */
export function compileCedar(
  rules: CedarPolicies,
  placeOf: (id: string) => string,
): CompiledPolicy {
  return finish({ mode: "enforce", rules, patterns: [], limits: null, tools: null }, placeOf);
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
  return finish({ ...rest, rules: rules as CedarPolicies, limits }, () => path);
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

function finish(
  policy: Omit<CompiledPolicy, "digest" | "warnings">,
  placeOf: (id: string) => string,
): CompiledPolicy {
  validateCedar(policy.rules, placeOf);
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
    ...(policy.network?.hosts ?? []).map(
      (glob): Pattern => ({ name: `network:${glob}`, kind: "host", glob, args: [CONNECT] }),
    ),
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
