import type { VendorInput } from "../../packages/runtime/src/agents/index.ts";
import type { ScriptedTurn } from "./scripted-model.ts";

/** How one agent's model asks for what every agent can do, and whose model it is. */
export interface Dialect {
  readonly agent: string;
  readonly vendor: Pick<VendorInput, "auth" | "wires" | "provider" | "outputField">;
  readonly read: (path: string) => ScriptedTurn;
  readonly edit: (path: string, before: string, after: string) => ScriptedTurn;
  readonly write: (path: string, line: string) => ScriptedTurn;
  readonly shell: (command: string) => ScriptedTurn;
}

const WORKSPACE = "/workspace";

const claude: Dialect = {
  agent: "claude",
  vendor: {
    auth: "x-api-key",
    wires: ["anthropic_messages"],
    provider: "anthropic",
    outputField: "max_tokens",
  },
  read: (path) => call("Read", { file_path: `${WORKSPACE}/${path}` }),
  edit: (path, before, after) =>
    call("Edit", { file_path: `${WORKSPACE}/${path}`, old_string: before, new_string: after }),
  write: (path, line) => call("Write", { file_path: `${WORKSPACE}/${path}`, content: `${line}\n` }),
  shell: (command) => call("Bash", { command }),
};

/** It reads files by commands, and changes them by patches of whole lines. */
const codex: Dialect = {
  agent: "codex",
  vendor: {
    auth: "bearer",
    wires: ["openai_responses"],
    provider: "openai",
    outputField: "max_completion_tokens",
  },
  read: (path) => codex.shell(`cat ${path}`),
  edit: (path, before, after) => patch(`*** Update File: ${path}`, "@@", `-${before}`, `+${after}`),
  write: (path, line) => patch(`*** Add File: ${path}`, `+${line}`),
  // Its model waits for a command as long as it may.
  shell: (command) => call("exec_command", { cmd: command, yield_time_ms: 30_000 }),
};

const opencode: Dialect = {
  agent: "opencode",
  vendor: claude.vendor,
  read: (path) => call("read", { filePath: `${WORKSPACE}/${path}` }),
  edit: (path, before, after) =>
    call("edit", { filePath: `${WORKSPACE}/${path}`, oldString: before, newString: after }),
  write: (path, line) => call("write", { filePath: `${WORKSPACE}/${path}`, content: `${line}\n` }),
  shell: (command) => call("bash", { command, description: "a command" }),
};

/** By the agents' names. */
export const DIALECTS: Readonly<Record<string, Dialect>> = { claude, codex, opencode };

function call(name: string, input: Record<string, string | number>): ScriptedTurn {
  return { tools: [{ name, input }] };
}

function patch(...lines: string[]): ScriptedTurn {
  const text = ["*** Begin Patch", ...lines, "*** End Patch", ""].join("\n");
  return { tools: [{ name: "apply_patch", input: {}, text }] };
}
