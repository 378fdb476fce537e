import { fields } from "@sovereign/core";
import { z } from "zod";
import { hostOf, plainUrl } from "../host-name.ts";
import { secretField } from "../secret-field.ts";
import { defineSkill } from "../skill.ts";
import { runSlackSend } from "./run.ts";

/** A message to a channel of Slack. Slack knows no key by which it would post one once. */
export const slackSend = defineSkill({
  name: "slack_send",
  version: "1.0.0",
  text: "Post a message to a channel of Slack.",
  input: z.strictObject({
    /** Slack's for governments has another. */
    base_url: plainUrl.default("https://slack.com/api"),
    channel: z
      .string()
      .regex(/^([A-Z][A-Z0-9]{1,20}|#[a-z0-9_-]{1,80})$/, "expected C0123ABC or #channel"),
    text: z.string().min(1).max(4000),
    thread_ts: z
      .string()
      .regex(/^\d{1,20}\.\d{1,10}$/)
      .optional(),
    blocks: z.array(fields.jsonObject).max(50).optional(),
    /** Of a bot: `xoxb-…`. */
    token: secretField,
  }),
  output: z.strictObject({ channel: z.string().max(100), ts: z.string().max(100) }),
  reversible: false,
  secrets: ["token"],
  repeat: () => "unsafe",
  resource: ({ base_url: base, channel }) => `${hostOf(base)}/${channel}`,
  hosts: ({ base_url: base }) => [hostOf(base)],
  run: runSlackSend,
});
