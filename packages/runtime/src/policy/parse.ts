import {
  deepFreeze,
  issueToTell,
  parseFormat,
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
import type { YamlFile } from "./plain-yaml.ts";
import { readPolicySource } from "./policy-source.ts";

const BYTES_MAX = 1024 * 1024;

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
  const file = readPolicySource(bytes, path);
  const policy = readShape(file, path);
  checkPolicy(policy, file);
  if (options.isFrozen !== true) checkDenied(policy, file);
  const compiled = compileSandboxPolicy(policy, file);
  return deepFreeze({ ...compiled, warnings: warningsOf(policy, file) });
}

/** @throws ERR_POLICY_INVALID with the place of the first part that is wrong */
function readShape({ value, placeOf }: YamlFile, path: string): SandboxPolicy {
  const issue = issueToTell(sandboxPolicy, sandboxPolicy.safeParse(value).error?.issues ?? []);
  const keys = issue?.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [];
  const place = issue === undefined ? path : placeOf([...issue.path, ...keys]);
  return parseFormat(sandboxPolicy, value, place, "ERR_POLICY_INVALID");
}

function compileCedarFile(text: string, path: string): CompiledPolicy {
  const { rules, placeOf } = parseCedar(text, path);
  for (const [id, rule] of Object.entries(rules)) {
    const stepUp = rule.annotations?.["step_up"];
    if (stepUp !== undefined) parseStepUp(`${placeOf(id)}: ${id}`, stepUp);
  }
  return compileCedar(rules, placeOf);
}

function checkPolicy(policy: SandboxPolicy, { placeOf }: YamlFile): void {
  for (const [index, entry] of policy.operations.entries()) {
    const type = typeOf(entry);
    if (!isPatterned(type)) continue;
    const where = type.startsWith("file.")
      ? "allowlist.file_operations"
      : "commands, hosts or network.hosts";
    const place = placeOf(["operations", index]);
    const text = `${place}: operations: ${type} is allowed by pattern: use ${where}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
  const allowed = allowedTypes(policy);
  for (const [index, { operations }] of policy.approvals.entries()) {
    const at = operations.findIndex((operation) => !allowed.has(operation));
    if (at < 0) continue;
    const place = placeOf(["approvals", index, "operations", at]);
    const known = [...allowed].sort().join(", ") || "nothing";
    const text = `${place}: approvals: nothing here allows ${operations[at] ?? ""}, so nobody would be asked; it allows ${known}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
}

/** What is written to deny, and would not, is an error; elsewhere it is safe, and only told. */
function checkDenied({ deny_paths }: SandboxPolicy, { placeOf }: YamlFile): void {
  for (const [index, pattern] of deny_paths.entries()) {
    const why = misleads(pattern);
    if (why === null) continue;
    const place = placeOf(["deny_paths", index]);
    const text = `${place}: deny_paths: ${quoted(pattern)} would not deny what it seems to: ${why}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
}

type Judge = (pattern: string) => string | null;

/** What allows nothing, though it is written to: each with its place and with what was expected. */
function warningsOf(
  { allowlist, deny_paths, hosts, network }: SandboxPolicy,
  file: YamlFile,
): string[] {
  const { paths, host_run_paths, ci_paths, commands, file_operations } = allowlist;
  const never = (judge: Judge): Judge => toldAs(judge, "can never match");
  const allowing: Judge = (pattern) =>
    never(neverMatches)(pattern) ?? toldAs(misleads, "would not match what it seems to")(pattern);
  const lists: [string[], readonly string[], Judge][] = [
    [["allowlist", "paths"], paths, allowing],
    [["allowlist", "host_run_paths"], host_run_paths, allowing],
    [["allowlist", "ci_paths"], ci_paths, allowing],
    [["deny_paths"], deny_paths, never((pattern) => neverMatches(plainPattern(pattern)))],
    [["hosts"], hosts, never(neverMatchesHost)],
    [["network", "hosts"], network?.hosts ?? [], never(neverMatchesHost)],
  ];
  const told = lists.flatMap(([list, patterns, judge]) =>
    patterns.flatMap((pattern, index) => {
      const why = judge(pattern);
      const place = (): string => file.placeOf([...list, index]);
      return why === null ? [] : [`${place()}: ${list.join(".")}: ${quoted(pattern)} ${why}`];
    }),
  );
  const programs = commands.flatMap(({ executable }, index) => {
    if (!/[\s*?]/.test(executable)) return [];
    const place = file.placeOf(["allowlist", "commands", index, "executable"]);
    const why = "expected the name of one program; its arguments are for allowed_args";
    return [`${place}: allowlist.commands: ${quoted(executable)} would not match: ${why}`];
  });
  return [...told, ...programs, ...halves(paths, file_operations, file)];
}

function toldAs(judge: Judge, what: string): Judge {
  return (pattern) => {
    const why = judge(pattern);
    return why === null ? null : `${what}: ${why}`;
  };
}

/** Operations on files need both lists: one alone allows nothing. */
function halves(
  paths: readonly string[],
  operations: readonly string[],
  { placeOf }: YamlFile,
): string[] {
  if ((paths.length === 0) === (operations.length === 0)) return [];
  const [there, missing] =
    paths.length > 0 ? ["paths", "file_operations"] : ["file_operations", "paths"];
  const place = placeOf(["allowlist", there]);
  return [`${place}: allowlist.${there} allows nothing: allowlist.${missing} is empty`];
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return utf8Decode(bytes);
  } catch (cause) {
    throw new SovereignError("ERR_POLICY_SYNTAX", `${path}: expected UTF-8`, {}, cause);
  }
}
