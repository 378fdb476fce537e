import { z } from "zod";
import { fields } from "../formats/index.ts";
import type { ActionDeclaration } from "./declaration.ts";

/** What every skill is asked with: the resource is the host, table or channel that it acts on. */
const params = z.strictObject({
  /** The version of the skill that the plan was checked against. */
  version: z.string().max(40),
  /** As the skill's own schema says; references are looked up by now. */
  input: fields.jsonObject,
  timeout_ms: fields.count,
  /** What the plan says that the call costs, in millionths of a dollar. */
  cost_microusd: fields.count.exactOptional(),
});

const output = z.strictObject({
  /** As the skill's own schema says. */
  value: fields.json,
  /** Millionths of a dollar. */
  cost_microusd: fields.count,
  /** Tokens of a model, where the skill used any. */
  tokens: fields.count.exactOptional(),
});

const skill = {
  params,
  output,
  policy: { matches: "resource" },
  repeats: "again",
  request: null,
} as const;

export const SKILL_ACTIONS = {
  "skill.http_call": { ...skill, text: "Call an HTTP server, as a step of a plan." },
  "skill.json_transform": { ...skill, text: "Compute a value of another, in the sandbox." },
  "skill.kv_store": { ...skill, text: "Keep, read or delete a value of the tenant." },
  "skill.calendar_write": { ...skill, text: "Write an event to a calendar, by CalDAV." },
  "skill.email_send": { ...skill, text: "Send an e-mail to one address, by SMTP." },
  "skill.llm_invoke": { ...skill, text: "Ask a model, through the model proxy." },
  "skill.postgres_query": { ...skill, text: "Query a PostgreSQL database." },
  "skill.slack_send": { ...skill, text: "Post a message to a channel of Slack." },
  "skill.voyage_embed": { ...skill, text: "Make vectors of texts by Voyage AI." },
  "skill.webhook_send": { ...skill, text: "Send a signed message to a web hook." },
  "skill.own": { ...skill, text: "Run a skill of the tenant's own, in a sandbox." },
  "skill.__sdsr_fail_trigger__": { ...skill, text: "Fail in the way that the plan says." },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;
