import { quoted, SovereignError } from "@sovereign/core";
import { calendarWrite } from "./calendar-write/index.ts";
import { emailSend } from "./email-send/index.ts";
import { failTrigger } from "./fail-trigger/index.ts";
import { httpCall } from "./http-call/index.ts";
import { jsonTransform } from "./json-transform/index.ts";
import { kvStore } from "./kv-store/index.ts";
import { llmInvoke } from "./llm-invoke/index.ts";
import { own } from "./own/index.ts";
import { postgresQuery } from "./postgres-query/index.ts";
import { slackSend } from "./slack-send/index.ts";
import { voyageEmbed } from "./voyage-embed/index.ts";
import { webhookSend } from "./webhook-send/index.ts";
import type { Skill } from "./skill.ts";

/** Every skill, by its name. Each has an action `skill.NAME` in the catalogue. */
export const SKILLS = {
  http_call: httpCall,
  json_transform: jsonTransform,
  kv_store: kvStore,
  calendar_write: calendarWrite,
  email_send: emailSend,
  llm_invoke: llmInvoke,
  postgres_query: postgresQuery,
  slack_send: slackSend,
  voyage_embed: voyageEmbed,
  webhook_send: webhookSend,
  own,
  __sdsr_fail_trigger__: failTrigger,
} as const satisfies Readonly<Record<string, Skill>>;

/** @throws ERR_SKILL_UNKNOWN */
export function findSkill(name: string): Skill {
  const found = Object.hasOwn(SKILLS, name) ? SKILLS[name as keyof typeof SKILLS] : undefined;
  if (found !== undefined) return found;
  const text = `There is no skill ${quoted(name)}. Expected one of ${Object.keys(SKILLS).join(", ")}. What each takes: sovereign skills show NAME`;
  throw new SovereignError("ERR_SKILL_UNKNOWN", text);
}
