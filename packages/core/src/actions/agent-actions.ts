import { z } from "zod";
import { utf8Encode } from "../bytes/index.ts";
import { sha256Hex } from "../digest/index.ts";
import { fields, type JsonObject } from "../formats/index.ts";
import { type ActionDeclaration, requestForm } from "./declaration.ts";

const asked = z.strictObject({
  agent: z.string().min(1).max(60),
  task: z.string().min(1).max(200_000),
  model: z.string().min(1).max(200),
  /** Of an agent that the user names: its program and that one's arguments. */
  command: z.array(z.string().min(1).max(10_000)).min(1).max(200).optional(),
  timeout_seconds: z.int().min(1).max(86_400).optional(),
  /** Millionths of a dollar. */
  budget_microusd: z.int().min(0).max(1_000_000_000_000).optional(),
  /** How many model calls it may make. */
  max_turns: z.int().min(1).max(100_000).optional(),
  /** Keep what the agent prints, with secrets masked. */
  transcript: z.literal(true).optional(),
  /** SHA-256 of the task pack in canonical form. */
  task_pack: fields.digest.optional(),
  /** Where it may change files. */
  scope: fields.workScope.optional(),
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
      command: z.array(z.string()).optional(),
      timeout_seconds: fields.count.optional(),
      budget_microusd: fields.count.optional(),
      max_turns: fields.count.optional(),
      transcript: z.literal(true).optional(),
      /** Of the task pack; absent in runs from before there were any. */
      task_pack: fields.digest.optional(),
      /** Where it may change files: that of the task pack. */
      scope: fields.workScope.optional(),
      before: fields.gitId,
    }),
    output: z.looseObject({
      sandbox_level: z.string(),
      sandbox_backend: z.string(),
      agent: z.string(),
      version: z.string(),
      program_sha256: fields.digest,
      /**
       * `proved`: it was seen to ask and to obey, right before its work. `asked`: it asked for some
       * calls; nothing shows that it asked for all. `partly`: it asked for some, and said to have made
       * others. `none`: it asked for none.
       */
      hooks: z.enum(["proved", "asked", "partly", "none"]).optional(),
      /**
       * `new`: the conversation began in this attempt. `continued`: it went on with that of an attempt
       * that was killed. `again`: there was one, and it could not be gone on with.
       */
      session: z.enum(["new", "continued", "again"]).optional(),
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
