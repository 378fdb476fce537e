import { type Action, policyFace, SovereignError } from "@sovereign/core";

/**
 * All that an action acts on: its resource, and the paths in its parameters.
 * @throws ERR_PATH_REFUSED
 */
export function resourcesOf({ type, resource, params }: Action): string[] {
  const more = policyFace(type).morePaths ?? [];
  return [
    resource,
    ...more.map((name) => {
      const path = params[name];
      if (typeof path === "string") return path;
      const text = `The action ${type} is refused: expected a path at ${name}.`;
      throw new SovereignError("ERR_PATH_REFUSED", text);
    }),
  ];
}
