import type { PolicyFace } from "./declaration.ts";

/** An action that policy decides on, and that no effect of the kernel carries out. */
export interface JudgedAction {
  /** One sentence for people. */
  readonly text: string;
  readonly policy: PolicyFace;
  /** The events that record it; empty where it is part of another action's record. */
  readonly events: readonly string[];
}

/**
 * What tools and proxies do. A tool's call is recorded with the agent's call; a proxy asks the
 * control before it sends a byte, and records each end by an event of its own.
 */
export const JUDGED_ACTIONS = {
  "file.read": {
    text: "Let a tool of an agent read a file.",
    policy: { matches: "path", readsOnly: true, words: ["read_file"] },
    events: [],
  },
  "http.call": {
    text: "Let a tool of an agent call a host.",
    policy: { matches: "host" },
    events: [],
  },
  "llm.call": {
    text: "Call a model, through the model proxy. The resource is the vendor's name, `/` and the model.",
    policy: { matches: "resource" },
    events: ["llm.reserved", "llm.called", "llm.denied"],
  },
  "network.connect": {
    text: "Connect to a host, through the egress proxy. The port is named where it is not 443.",
    policy: { matches: "host" },
    events: ["egress.connected", "egress.closed", "egress.refused"],
  },
} as const satisfies Readonly<Record<string, JudgedAction>>;
