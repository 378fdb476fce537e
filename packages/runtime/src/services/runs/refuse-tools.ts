import { quoted, SovereignError } from "@sovereign/core";
import type { CompiledPolicy } from "../../policy/index.ts";

/**
 * Only an execution has a work tree for which tools are found. Elsewhere they would be left out
 * without a word, and what the policy names would not be what commands see.
 *
 * @param what runs under the policy
 * @param file the policy, where its name is known
 * @throws ERR_POLICY_INVALID where the policy names presets or mounts
 */
export function refuseTools(
  { tools }: Pick<CompiledPolicy, "tools">,
  what: "batch" | "pipeline" | "goal",
  file: string | null,
): void {
  if (tools === null) return;
  const named = [
    ...(tools.presets.length > 0 ? ["presets"] : []),
    ...(tools.mounts.length > 0 ? ["mounts"] : []),
  ];
  const policy = file === null ? "The policy" : `The policy ${quoted(file)}`;
  const text = `${policy} names ${named.join(" and ")}, which a ${what} does not have: only sovereign exec run mounts tools. Give the ${what} a policy without ${named.join(" and ")}.`;
  throw new SovereignError("ERR_POLICY_INVALID", text);
}
