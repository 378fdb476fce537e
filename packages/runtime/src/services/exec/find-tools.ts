import type { Toolset } from "@sovereign/core";
import { type Head, trackedPaths, type UserRepository } from "../../executor/index.ts";
import type { CompiledPolicy } from "../../policy/index.ts";
import { homeOf, resolveTools } from "../../sandbox/index.ts";
import type { Environment } from "../../home/index.ts";

/**
 * What a policy's tools are on this machine, for a repository.
 *
 * @returns null where the policy asks for none
 * @throws ERR_MOUNT_REFUSED
 */
export async function findTools(
  { tools }: CompiledPolicy,
  repository: UserRepository,
  base: Head,
  machine: { readonly environment: Environment; readonly dataFolder: string },
): Promise<Toolset | null> {
  if (tools === null) return null;
  const tracked = await trackedPaths(repository, base);
  return resolveTools(tools, {
    ...machine,
    home: homeOf(machine.environment),
    tree: {
      root: repository.root,
      gitDir: repository.commonDir,
      isTracked: (path) => tracked.has(path),
    },
  });
}
