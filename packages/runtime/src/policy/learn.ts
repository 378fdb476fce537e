import { type Action, isCiFile } from "@sovereign/core";
import { isFileType } from "./compile.ts";
import { FILE_OPERATIONS, sandboxPolicy, type SandboxPolicy } from "./document.ts";

/**
 * The smallest sandbox policy that allows exactly what was denied: to be read by a person before
 * it is used. Nothing is generalised: each path, argument and host is the one that was asked for.
 */
export function proposePolicy(policyId: string, denied: readonly Action[]): SandboxPolicy {
  const files = denied.filter((action) => isFileType(action.type));
  const commands = denied.filter((action) => action.type === "command.run");
  const hosts = denied.filter((action) => action.type === "http.call");
  const others = denied.filter((action) => ![...files, ...commands, ...hosts].includes(action));
  const fileNames = Object.entries(FILE_OPERATIONS)
    .filter(([, type]) => files.some((action) => action.type === type))
    .map(([name]) => name);
  const byExecutable = Map.groupBy(commands, (action) => action.resource);
  return sandboxPolicy.parse({
    policy_id: policyId,
    schema_version: "1.0.0",
    operations: unique(others.map((action) => action.type)),
    allowlist: {
      file_operations: fileNames,
      paths: unique(files.map((action) => literal(action.resource))),
      ci_paths: unique(
        files.filter(({ resource }) => isCiFile(resource)).map(({ resource }) => literal(resource)),
      ),
      commands: [...byExecutable].map(([executable, actions], index) => ({
        id: `learned-${index + 1}`,
        executable,
        allowed_args: unique(actions.flatMap((action) => argumentsOf(action)).map(literal)),
      })),
    },
    hosts: unique(hosts.map((action) => literal(action.resource))),
  });
}

function argumentsOf(action: Action): string[] {
  const argv = action.params["argv"];
  return Array.isArray(argv) ? argv.filter((word) => typeof word === "string") : [];
}

/** A pattern language without escapes cannot name these literally; `?` is the narrowest stand-in. */
function literal(text: string): string {
  return text.replaceAll("*", "?");
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)].sort();
}
