import {
  canonicalBytes,
  type JsonObject,
  sha256Hex,
  utf8Encode,
  wordsOfCommand,
  type WorkScope,
} from "@sovereign/core";
import { parseExecRequest } from "../../executor/index.ts";
import { parsePolicy } from "../../policy/index.ts";
import type { ReadRequest } from "../exec/exec-context.ts";

/** What an agent is to do, as it was typed. */
export interface AgentOrder {
  readonly agent: string;
  /** Whose key signs what it does. */
  readonly role: string;
  readonly task: string;
  readonly model: string;
  /** The words of the agent's own program; null for one that an adapter knows. */
  readonly command: readonly string[] | null;
  /** Commands that have to succeed on the result, run by us. */
  readonly verify: readonly string[];
  readonly timeoutSeconds: number | null;
  readonly budgetMicrousd: number | null;
  /** How many model calls it may make. */
  readonly turnsMax: number | null;
  /** Keep what the agent prints, with secrets masked. */
  readonly transcript?: boolean;
  /** Of the task pack that was issued for it. */
  readonly pack?: OrderedPack;
}

export interface OrderedPack {
  /** SHA-256 of the pack in canonical form. */
  readonly sha256: string;
  readonly scope: WorkScope;
  readonly review: boolean;
}

const WORKS = "agent";

/**
 * An agent's work as a request: one step, in which the agent works, our checks of it follow, and a
 * commit ends it. So what comes of it is judged and brought back as of any other request.
 *
 * @param at a UTC time, whole seconds
 */
export function requestOf(order: AgentOrder, at: string): JsonObject {
  const { agent, task, model, command, timeoutSeconds, budgetMicrousd, turnsMax, pack } = order;
  const params: JsonObject = { agent, task, model };
  if (command !== null) params["command"] = [...command];
  if (timeoutSeconds !== null) params["timeout_seconds"] = timeoutSeconds;
  if (budgetMicrousd !== null) params["budget_microusd"] = budgetMicrousd;
  if (order.transcript === true) params["transcript"] = true;
  if (turnsMax !== null) params["max_turns"] = turnsMax;
  if (pack !== undefined) {
    params["task_pack"] = pack.sha256;
    params["scope"] = pack.scope;
  }
  const checks = order.verify.map((command, index) => ({
    op_id: `verify_${index + 1}`,
    action: "verify",
    params: { argv: wordsOfCommand(command) },
  }));
  const id = sha256Hex(canonicalBytes({ ...params, at, verify: [...order.verify] })).slice(0, 20);
  return {
    exec_request_id: `exec_req_${id}`,
    schema_version: "1.0.0",
    created_at: at,
    role: order.role,
    ...(pack?.review === true ? { requires_review: true } : {}),
    patch_plan: {
      steps: [
        {
          step_id: "step_01",
          operations: [{ op_id: WORKS, action: WORKS, params }, ...checks],
          commit_message: task,
        },
      ],
    },
  };
}

/** Read what was typed as if it were files: what is judged is what is frozen. */
export function readOrder(
  order: AgentOrder,
  policy: { readonly path: string; readonly bytes: Uint8Array },
  at: string,
): ReadRequest {
  const request = { path: "agent.json", bytes: canonicalBytes(requestOf(order, at)) };
  return {
    planned: parseExecRequest(request.bytes, request.path),
    policy: parsePolicy(policy.bytes, policy.path),
    files: { request, policy },
  };
}

/** What messages call the built-in policy. */
export const STARTER_POLICY = "starter-policy.json";

/**
 * What holds where neither the user nor the repository has a policy: the agent may do what it likes in
 * its sandbox; of the repository it may change what tools do not run; and the model is all the network.
 */
export function starterPolicy({ agent, verify }: Pick<AgentOrder, "agent" | "verify">): {
  path: string;
  bytes: Uint8Array;
} {
  const commands = verify.map((command, index) => {
    const [executable = "", ...args] = wordsOfCommand(command);
    return { id: `verify-${index + 1}`, executable, allowed_args: args };
  });
  const policy = {
    policy_id: "agent-starter",
    schema_version: "1.0.0",
    description: "Built in: holds where no other policy is named or found.",
    operations: [{ type: "llm.call", resources: ["**"] }],
    allowed_git_operations: ["git_add", "git_commit"],
    agent: { run: [agent], tools: STARTER_TOOLS },
    allowlist: {
      file_operations: ["read_file", "write_file", "update_file", "delete_file"],
      paths: ["**"],
      commands,
    },
    limits: { max_file_size_mb: 10, max_files: 200, timeout_seconds: 1800 },
  };
  return { path: STARTER_POLICY, bytes: utf8Encode(JSON.stringify(policy)) };
}

/** A shell's commands are not read: the sandbox bounds them, and the diff is judged. */
const STARTER_TOOLS = {
  Bash: "allow",
  Read: "judge",
  Glob: "judge",
  Grep: "judge",
  Write: "judge",
  Edit: "judge",
  MultiEdit: "judge",
  NotebookEdit: "judge",
  TaskCreate: "allow",
  TaskGet: "allow",
  TaskList: "allow",
  TaskUpdate: "allow",
} as const;
