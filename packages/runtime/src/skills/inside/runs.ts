import { runCalendarWrite } from "../calendar-write/run.ts";
import { runEmailSend } from "../email-send/run.ts";
import { runHttpCall } from "../http-call/run.ts";
import { runJsonTransform } from "../json-transform/run.ts";
import { runLlmInvoke } from "../llm-invoke/run.ts";
import { runPostgresQuery } from "../postgres-query/run.ts";
import { runSlackSend } from "../slack-send/run.ts";
import { runVoyageEmbed } from "../voyage-embed/run.ts";
import { runWebhookSend } from "../webhook-send/run.ts";
import type { HostRun } from "./call.ts";

/** What the host can do, by the skill's name. Inputs have the shape of the skill's own schema. */
const RUNS = {
  calendar_write: runCalendarWrite,
  email_send: runEmailSend,
  http_call: runHttpCall,
  json_transform: runJsonTransform,
  llm_invoke: runLlmInvoke,
  postgres_query: runPostgresQuery,
  slack_send: runSlackSend,
  voyage_embed: runVoyageEmbed,
  webhook_send: runWebhookSend,
} as const;

export function findRun(name: string): HostRun<never> | null {
  return Object.hasOwn(RUNS, name) ? RUNS[name as keyof typeof RUNS] : null;
}
