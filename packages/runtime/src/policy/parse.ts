import {
  deepFreeze,
  parseFormat,
  parseStrictJson,
  quoted,
  SovereignError,
  utf8Decode,
} from "@sovereign/core";
import { parseCedar } from "./cedar.ts";
import {
  allowedTypes,
  type CompiledPolicy,
  compileCedar,
  compileSandboxPolicy,
  isPatterned,
  typeOf,
} from "./compile.ts";
import { type SandboxPolicy, sandboxPolicy } from "./document.ts";
import { parseStepUp } from "./demand.ts";
import { neverMatchesHost } from "./hosts.ts";
import { misleads, neverMatches, plainPattern } from "./path-patterns.ts";
import { readPlainYaml } from "./plain-yaml.ts";

const BYTES_MAX = 1024 * 1024;
const YAML_DOOR = {
  bytesMax: 256 * 1024,
  tooLarge: "ERR_POLICY_TOO_LARGE",
  syntax: "ERR_POLICY_SYNTAX",
} as const;

/**
 * Read and compile a policy file. What it is follows from its name: `.cedar`, `.json`, else YAML.
 *
 * @param bytes untrusted
 * @param options.isFrozen it was taken for an earlier run: what it denied, or did not, it still does
 * @throws ERR_POLICY_TOO_LARGE, ERR_POLICY_SYNTAX, ERR_POLICY_INVALID
 */
export function parsePolicy(
  bytes: Uint8Array,
  path: string,
  options: { readonly isFrozen?: boolean } = {},
): CompiledPolicy {
  if (bytes.length > BYTES_MAX) {
    const text = `${path}: expected at most ${BYTES_MAX} bytes, found ${bytes.length}`;
    throw new SovereignError("ERR_POLICY_TOO_LARGE", text);
  }
  if (path.endsWith(".cedar")) return compileCedarFile(decode(bytes, path), path);
  const value = path.endsWith(".json")
    ? readJson(bytes, path)
    : readPlainYaml(bytes, path, YAML_DOOR).value;
  const policy = parseFormat(sandboxPolicy, value, path, "ERR_POLICY_INVALID");
  checkPolicy(policy, path);
  if (options.isFrozen !== true) checkDenied(policy, path);
  const compiled = compileSandboxPolicy(policy, path);
  return deepFreeze({ ...compiled, warnings: warningsOf(policy) });
}

function compileCedarFile(text: string, path: string): CompiledPolicy {
  const rules = parseCedar(text, path);
  for (const [id, rule] of Object.entries(rules)) {
    const stepUp = rule.annotations?.["step_up"];
    if (stepUp !== undefined) parseStepUp(`${path}: ${id}`, stepUp);
  }
  return compileCedar(rules, path);
}

function checkPolicy(policy: SandboxPolicy, path: string): void {
  const patterned = policy.operations.map(typeOf).find(isPatterned);
  if (patterned !== undefined) {
    const where = patterned.startsWith("file.") ? "allowlist.file_operations" : "commands or hosts";
    const text = `${path}: operations: ${patterned} is allowed by pattern: use ${where}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
  const allowed = allowedTypes(policy);
  for (const operation of policy.approvals.flatMap(({ operations }) => operations)) {
    if (allowed.has(operation)) continue;
    const known = [...allowed].sort().join(", ") || "nothing";
    const text = `${path}: approvals: nothing here allows ${operation}, so nobody would be asked; it allows ${known}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
}

/** What is written to deny, and would not, is an error; elsewhere it is safe, and only told. */
function checkDenied({ deny_paths }: SandboxPolicy, path: string): void {
  for (const pattern of deny_paths) {
    const why = misleads(pattern);
    if (why === null) continue;
    const text = `${path}: deny_paths: ${quoted(pattern)} would not deny what it seems to: ${why}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
}

/** The patterns that nothing can ever match, each with what was expected. */
function warningsOf({ allowlist, deny_paths, hosts }: SandboxPolicy): string[] {
  const lists: [string, readonly string[], (pattern: string) => string | null][] = [
    ["allowlist.paths", allowlist.paths, neverMatches],
    ["allowlist.host_run_paths", allowlist.host_run_paths, neverMatches],
    ["allowlist.ci_paths", allowlist.ci_paths, neverMatches],
    ["deny_paths", deny_paths, (pattern) => neverMatches(plainPattern(pattern))],
    ["hosts", hosts, neverMatchesHost],
  ];
  return lists.flatMap(([list, patterns, judge]) =>
    patterns.flatMap((pattern) => {
      const why = judge(pattern);
      return why === null ? [] : [`${list}: ${quoted(pattern)} can never match: ${why}`];
    }),
  );
}

function readJson(bytes: Uint8Array, path: string): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    const found = cause instanceof SovereignError ? cause.message : "not JSON";
    throw new SovereignError("ERR_POLICY_SYNTAX", `${path}: ${found}`, {}, cause);
  }
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return utf8Decode(bytes);
  } catch (cause) {
    throw new SovereignError("ERR_POLICY_SYNTAX", `${path}: expected UTF-8`, {}, cause);
  }
}
