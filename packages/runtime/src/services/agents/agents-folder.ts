import { homedir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../../home/index.ts";

/** Where agents' programs are installed: a `node_modules` apart from everything else. */
export function agentsFolder(environment: Environment): string {
  const named = environment["SOVEREIGN_AGENTS"];
  if (named !== undefined && named !== "") return named;
  return join(environment["HOME"] ?? homedir(), ".cache", "sovereign", "agents", "node_modules");
}
