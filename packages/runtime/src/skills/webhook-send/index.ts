import { fields } from "@sovereign/core";
import { z } from "zod";
import { hostOf, plainUrl } from "../host-name.ts";
import { secretField } from "../secret-field.ts";
import { defineSkill } from "../skill.ts";
import { runWebhookSend } from "./run.ts";

/** A message to a web hook, signed as Standard Webhooks says. */
export const webhookSend = defineSkill({
  name: "webhook_send",
  version: "1.0.0",
  text: "Send a signed message to a web hook, as Standard Webhooks says.",
  input: z.strictObject({
    url: plainUrl,
    payload: fields.jsonObject,
    /** `whsec_` and the key's base64. */
    secret: secretField,
    /** Without it, one that is the same for every attempt of the step. */
    event_id: z
      .string()
      .regex(/^[\x21-\x2d\x2f-\x7e]{1,128}$/, "expected 1 to 128 characters without . and spaces")
      .optional(),
  }),
  output: z.strictObject({ status: z.int(), webhook_id: z.string() }),
  reversible: false,
  secrets: ["secret"],
  repeat: () => "with_key",
  resource: ({ url }) => hostOf(url),
  hosts: ({ url }) => [hostOf(url)],
  run: runWebhookSend,
});
