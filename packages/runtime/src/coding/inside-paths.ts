import { programInside } from "../system/index.ts";

const hook = programInside("coding/inside/hook");
const openCodePlugin = programInside("coding/inside/opencode-plugin");
const acpClient = programInside("coding/inside/acp-client");
const canaryModel = programInside("coding/inside/canary-model");

/** Programs of ours that an agent's sandbox sees. */
export const PROGRAMS = [hook, openCodePlugin, acpClient, canaryModel];

/** Where things of ours are seen in an agent's sandbox. */
export const INSIDE = {
  hook: hook.target,
  openCodePlugin: openCodePlugin.target,
  acpClient: acpClient.target,
  canaryModel: canaryModel.target,
  sockets: "/sovereign/run",
  hookSocket: "/sovereign/run/hooks.sock",
  modelSocket: "/sovereign/run/model.sock",
  canaryAnswers: "/sovereign/canary",
  /** Where an agent keeps its conversation: it lives as long as the run. */
  session: "/sovereign/session",
} as const;

/** Where the agent believes the model's vendor to be: nobody else has this loopback. */
export const MODEL_PORT = 8790;

export const NODE = ["/runtime/node", "--disable-warning=ExperimentalWarning"] as const;

/** Longer than any decision takes, shorter than an agent's own deadline for a hook. */
const HOOK_MS = 30_000;

/**
 * The hook as a shell reads it.
 * @param denial the whole answer that denies in the agent's protocol, without single quotes
 */
export function hookCommand(denial: string): string {
  return [...NODE, INSIDE.hook, INSIDE.hookSocket, `'${denial}'`, HOOK_MS].join(" ");
}
