/** Programs of ours run from their sources, or from what was built of them. */
const END = import.meta.url.endsWith(".ts") ? "mts" : "mjs";
const PROGRAMS = "/sovereign/programs";

/** Where things of ours are seen in an agent's sandbox. */
export const INSIDE = {
  hook: `${PROGRAMS}/hook.${END}`,
  openCodePlugin: `${PROGRAMS}/opencode-plugin.${END}`,
  acpClient: `${PROGRAMS}/acp-client.${END}`,
  canaryModel: `${PROGRAMS}/canary-model.${END}`,
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
