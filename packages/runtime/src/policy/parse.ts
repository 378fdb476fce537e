import { parseFormat, parseStrictJson, SovereignError, utf8Decode } from "@sovereign/core";
import { LineCounter, parseDocument } from "yaml";
import { parseCedar } from "./cedar.ts";
import { type CompiledPolicy, compileCedar, compileSandboxPolicy, isPatterned } from "./compile.ts";
import { type SandboxPolicy, sandboxPolicy } from "./document.ts";
import { parseStepUp } from "./engine.ts";

const BYTES_MAX = 1024 * 1024;
/** The YAML reader's search for repeated keys takes the square of their number. */
const YAML_BYTES_MAX = 64 * 1024;

/**
 * Read and compile a policy file. What it is follows from its name: `.cedar`, `.json`, else YAML.
 *
 * @param bytes untrusted
 * @throws ERR_POLICY_TOO_LARGE, ERR_POLICY_SYNTAX, ERR_POLICY_INVALID
 */
export function parsePolicy(bytes: Uint8Array, path: string): CompiledPolicy {
  const isYaml = !path.endsWith(".cedar") && !path.endsWith(".json");
  const bytesMax = isYaml ? YAML_BYTES_MAX : BYTES_MAX;
  if (bytes.length > bytesMax) {
    const text = `${path}: expected at most ${bytesMax} bytes, found ${bytes.length}`;
    throw new SovereignError("ERR_POLICY_TOO_LARGE", text);
  }
  if (path.endsWith(".cedar")) return compileCedarFile(decode(bytes, path), path);
  const value = path.endsWith(".json")
    ? readJson(bytes, path)
    : readYaml(decode(bytes, path), path);
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
  const patterned = policy.operations.find(isPatterned);
  if (patterned !== undefined) {
    const where = patterned.startsWith("file.") ? "allowlist.file_operations" : "commands or hosts";
    const text = `${path}: operations: ${patterned} is allowed by pattern: use ${where}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
  for (const { required, roles, operations } of policy.approvals) {
    parseStepUp(
      `${path}: approvals for ${operations.join(", ")}`,
      `${required} of ${roles.join(",")}`,
    );
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

/** Plain YAML: aliases could multiply what is written, and tags could make other things of it. */
function readYaml(text: string, path: string): unknown {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, prettyErrors: false });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const { line, col } = lineCounter.linePos(problem.pos[0]);
    throw new SovereignError("ERR_POLICY_SYNTAX", `${path}:${line}:${col}: ${problem.message}`);
  }
  try {
    return document.toJS({ maxAliasCount: 0 }) as unknown;
  } catch (cause) {
    throw new SovereignError("ERR_POLICY_SYNTAX", `${path}: aliases are refused`, {}, cause);
  }
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return utf8Decode(bytes);
  } catch (cause) {
    throw new SovereignError("ERR_POLICY_SYNTAX", `${path}: expected UTF-8`, {}, cause);
  }
}
