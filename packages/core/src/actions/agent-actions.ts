import { z } from "zod";
import { utf8Encode } from "../bytes/index.ts";
import { sha256Hex } from "../digest/index.ts";
import { fields, type JsonObject } from "../formats/index.ts";
import { type ActionDeclaration, requestForm } from "./declaration.ts";

const asked = z.strictObject({
  agent: z.string().min(1).max(60),
  task: z.string().min(1).max(200_000),
  model: z.string().min(1).max(200),
  timeout_seconds: z.int().min(1).max(86_400).optional(),
  /** Millionths of a dollar. */
  budget_microusd: z.int().min(0).max(1_000_000_000_000).optional(),
});

const pinned = { sha256: fields.digest, bytes: fields.count };

export const AGENT_ACTIONS = {
  "agent.run": {
    text: "Run a coding agent on the tree, in the sandbox.",
    /** The resource is the agent's name. */
    params: z.strictObject({
      /** The task's text, which stands in the request. */
      ...pinned,
      model: z.string(),
      timeout_seconds: fields.count.optional(),
      budget_microusd: fields.count.optional(),
      before: fields.gitId,
    }),
    output: z.looseObject({
      sandbox_level: z.string(),
      sandbox_backend: z.string(),
      agent: z.string(),
      version: z.string(),
      program_sha256: fields.digest,
      calls_allowed: fields.count,
      calls_denied: fields.count,
      /** What the agent says of its work: nobody looked. */
      claims: fields.json,
      tree: fields.gitId,
      files_changed: fields.count,
    }),
    policy: { matches: "resource" },
    repeats: "again",
    request: requestForm(["agent"], asked, ({ agent, task, ...rest }) => {
      const content = utf8Encode(task);
      const pin = { sha256: sha256Hex(content), bytes: content.length };
      return { resource: agent, params: { ...pin, ...rest } as JsonObject, content };
    }),
  },
  "agent.tool_call": {
    text: "Let a coding agent do one tool call.",
    /** The resource is the tool's name. */
    params: z.strictObject({
      /** As the agent names the call. */
      call: z.string(),
      /** Of all of the call's arguments, as JSON. */
      input: z.strictObject(pinned),
      /** The first characters of each argument. */
      extract: z.record(z.string(), z.string()),
      /** What the call does, in our vocabulary: policy is asked about each of these, too. */
      asks: z.array(
        z.strictObject({
          type: z.string(),
          resource: z.string(),
          params: z.strictObject({ argv: z.array(z.string()).optional() }),
        }),
      ),
    }),
    /** What the tool answered, as the agent says. */
    output: z.strictObject({ response: z.strictObject(pinned) }),
    policy: { matches: "resource" },
    repeats: "again",
    request: null,
  },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;
