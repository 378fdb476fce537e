import { parseFormat, parseStrictJson, SovereignError, utf8Decode } from "@sovereign/core";
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
 * @throws ERR_POLICY_TOO_LARGE, ERR_POLICY_SYNTAX, ERR_POLICY_INVALID
 */
export function parsePolicy(bytes: Uint8Array, path: string): CompiledPolicy {
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
  return compileSandboxPolicy(policy, path);
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
